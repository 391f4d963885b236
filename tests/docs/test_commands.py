"""Every command of ours that a page shows exists: targets of make, modules, verbs and options of the kubectl plugin.

What the commands do is tested where they are; other programs' commands are run by the tests of the page's subject.
"""

import contextlib
import importlib.util
import io
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from runtime.escrowctl.__main__ import PROGRAM

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/*.md"), *ROOT.glob("examples/**/README.md")]
BLOCK = re.compile(r"^ *```(?:sh|console|bash)\n(.*?)^ *```", re.M | re.S)
SPAN = re.compile(r"`((?:make|python -m|kubectl purpleflea|escrowctl) [^`]+)`")
TARGET = re.compile(r"^([a-z][a-z0-9-]*):", re.M)
PLACEHOLDER = re.compile(r"\.\.\.|\[|<")


def commands(text: str) -> list[str]:
    """Those of its blocks and of its prose, without prompts, comments and what they are piped to."""
    lines = [line for block in BLOCK.findall(text) for line in block.replace("\\\n", " ").splitlines()]
    found = [line.strip().removeprefix("$ ") for line in lines] + SPAN.findall(text)
    return [re.split(r" \| | > | && |; ", line.partition(" #")[0])[0].strip() for line in found]


SHOWN = [(page.relative_to(ROOT).as_posix(), line) for page in PAGES for line in commands(page.read_text())]


def cases(*beginnings: str) -> list[tuple[str, str]]:
    return [(page, line) for page, line in SHOWN if line.startswith(beginnings)]


@pytest.mark.parametrize(("page", "line"), cases("make "))
def test_a_target_of_make_is_there(page, line):
    targets = set(TARGET.findall((ROOT / "Makefile").read_text()))
    wanted = [word for word in shlex.split(line)[1:] if "=" not in word and not word.startswith("-")]
    assert wanted
    assert set(wanted) <= targets, page


def test_make_help_lists_every_target_that_says_what_it_is_for():
    told = set(re.findall(r"^([\w-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
    done = subprocess.run(["make", "-s", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert {line.split()[1] for line in done.stdout.splitlines()} == told


@pytest.mark.parametrize(("page", "line"), cases("python -m "))
def test_a_module_is_there(page, line):
    assert importlib.util.find_spec(line.split()[2]), page


@pytest.mark.parametrize(("page", "line"), cases("kubectl purpleflea ", "escrowctl ", "python -m runtime.escrowctl "))
def test_a_verb_of_the_plugin_takes_what_is_written(page, line):
    words = shlex.split(line.removeprefix("kubectl purpleflea").removeprefix("python -m runtime.escrowctl"))
    words = words[1:] if words[:1] == ["escrowctl"] else words
    verbs = [word for word in words if not word.startswith("-")]
    if PLACEHOLDER.search(line) or len(words) < 2:  # a verb named in prose
        assert not verbs or re.search(rf"^{re.escape(verbs[0])}\b", PROGRAM.summary, re.M), page
        return
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        try:
            PROGRAM.parser().parse_args(words)
        except SystemExit:
            pytest.fail(f"{page}: {line}\n{said.getvalue()}")
