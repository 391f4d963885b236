"""Every page is found from the README, and every link in a page leads somewhere."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def links(page: Path) -> set[str]:
    """Targets of a page's links within the repository."""
    prose = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    return {target for target in re.findall(r"\]\(([^)\s]+)\)", prose) if "://" not in target}


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_readmes_index_has_every_page():
    index = (ROOT / "README.md").read_text().split("## Documentation")[1]
    assert set(re.findall(r"^\| \[[\w-]+\]\(docs/([\w-]+)\.md\)", index, re.MULTILINE)) == {
        page.stem for page in (ROOT / "docs").glob("*.md")
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    broken = []
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []
