"""What the documents say about settings can be pasted: snippets, `pulumi config set`, paths in the prose."""

import re
import shlex
import shutil

import pytest

from components.settings import Settings
from components.settings.description import describe
from components.stack_values import StackValues
from tests.components.variants import ROOT

DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXTS = {path.name: path.read_text() for path in DOCUMENTS}
SNIPPETS = [
    (name, text) for name, whole in TEXTS.items() for text in re.findall(r"```yaml\n(.*?)```", whole, re.DOTALL)
]
COMMANDS = [
    (name, command.strip())
    for name, whole in TEXTS.items()
    for command in re.findall(r"pulumi config set [^`#\n]+", whole)
]
TOP = {key.name for key in describe(Settings).keys}


def paths(text: str) -> set[str]:
    """Settings that the prose names in code: `hpa.minReplicas`, `purpleflea.funding.mode: request`."""
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    spans = re.findall(r"`(?:purpleflea[.:])?([a-z][A-Za-z]*(?:(?:\[\])?\.[a-z][A-Za-z]*)+)(?:: [^`]+)?`", prose)
    return {span for span in spans if span.split(".")[0].removesuffix("[]") in TOP}


@pytest.mark.parametrize(("name", "text"), SNIPPETS)
def test_snippet_is_a_stack_file(name, text, tmp_path):
    shutil.copy(ROOT / "Pulumi.yaml", tmp_path)
    # A snippet goes into a stack file that names its image already.
    image = "  purpleflea:images: {runtime: 'team/runtime:1', allowTag: true}\n"
    (tmp_path / "Pulumi.pasted.yaml").write_text(text.replace("config:\n", f"config:\n{image}", 1))
    StackValues.from_files(tmp_path, "pasted").settings()


@pytest.mark.parametrize(("name", "command"), COMMANDS)
def test_command_sets_a_key_that_is_there(name, command):
    words = shlex.split(command)[3:]
    key = next(word for word in words if not word.startswith("-")).removeprefix("purpleflea:")
    if "--path" not in words:
        assert key == "apiKey" if "--secret" in words else key in TOP, f"{name}: {command}"
    else:
        assert exists(key), f"{name}: {command}"


def test_paths_in_the_prose_are_settings():
    """And file names that look like paths are told apart: `fly.toml`."""
    assert {(name, path) for name, text in TEXTS.items() for path in paths(text) if not exists(path)} == {
        ("fly.md", "fly.toml")
    }


def exists(path: str) -> bool:
    """Whether there is such a setting."""
    *above, last = path.replace("[]", "").split(".")
    section = describe(Settings).at(tuple(above))
    return section is not None and section.key(last) is not None


def test_there_is_something_to_test():
    assert SNIPPETS
    assert len(COMMANDS) >= 4
    assert sum(map(len, map(paths, TEXTS.values()))) > 10
