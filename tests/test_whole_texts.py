"""Whole texts are matched by `fullmatch`: `$` also matches before the end of a last line, so `name\\n` would pass."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted(path for room in ("components", "runtime") for path in (ROOT / room).rglob("*.py"))


def patterns(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Every pattern that is handed to `re` as a constant, with its line."""
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and isinstance(node.func.value, ast.Name)
        ):
            first = node.args[0] if node.args else None
            if node.func.value.id == "re" and isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield node.lineno, first.value


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_pattern_ends_in_a_dollar(path):
    found = patterns(ast.parse(path.read_text()))
    assert [(line, pattern) for line, pattern in found if pattern.endswith("$") and not pattern.endswith(r"\$")] == []


def test_it_would_be_found():
    assert [*patterns(ast.parse('re.compile(r"^a$")\nre.match("b$", x)'))] == [(1, "^a$"), (2, "b$")]
