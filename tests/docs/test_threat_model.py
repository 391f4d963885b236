"""docs/threat-model.md: each row is shown by a test that is there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "threat-model.md").read_text()
TESTS = "".join(file.read_text() for file in (ROOT / "tests").rglob("test_*.py"))


def test_every_row_names_a_test():
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith("| threat")]
    assert len(rows) > 20
    assert [row for row in rows if not re.findall(r"`(test_\w+)`", row.split(" | ")[-1])] == []


def test_every_test_named_exists():
    named = re.findall(r"`(test_\w+)`", PAGE)
    assert sorted({name for name in named if f"def {name}(" not in TESTS}) == []
