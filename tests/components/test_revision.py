"""What a change does to a stack's files: the revision before is rendered with its own code and settings."""

import shutil
import subprocess

import pytest

from components.synth.__main__ import main
from tests.components.variants import ROOT

NEEDED = ("components", "templates", "Dockerfile", "pyproject.toml", "Pulumi.yaml", "Pulumi.dev.yaml")


@pytest.fixture
def repository(tmp_path):
    """The project in a repository of its own, with one commit."""
    if not shutil.which("git"):
        pytest.skip("git is not on the PATH; install it")
    repository = tmp_path / "project"
    (repository / "runtime" / "agent").mkdir(parents=True)
    for name in ("__init__.py", "contract.py", "kubernetes_yaml.py", "schedule.py", "agent/schema.sql"):
        shutil.copy(ROOT / "runtime" / name, repository / "runtime" / name)
    for name in NEEDED:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, repository / name)
    subprocess.run(["git", "-C", str(repository), "init", "-q"], check=True)
    commit(repository, "before")
    return repository


def commit(repository, subject):
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.com"]
    for words in (["add", "."], [*identity, "commit", "-qm", subject]):
        subprocess.run(["git", "-C", str(repository), *words], check=True)


def diff(repository, revision="HEAD", stack="dev"):
    arguments = ["--project", str(repository), "--out", str(repository / "dist"), "--stack", stack, "--diff", revision]
    return main(arguments, root=repository)


def test_only_what_the_working_tree_changes_is_shown_and_nothing_is_written(repository, capsys):
    assert diff(repository) == 0
    assert capsys.readouterr().out == ""
    settings = repository / "Pulumi.dev.yaml"
    settings.write_text(settings.read_text() + "  purpleflea:job: {backoffLimit: 3}\n")
    before = sorted(repository.rglob("*"))
    assert diff(repository) == 0
    shown = capsys.readouterr()
    assert "-  backoffLimit: 2\n+  backoffLimit: 3" in shown.out
    assert "of the files of dev differ from HEAD" in shown.err
    assert sorted(repository.rglob("*")) == before


def test_the_revision_is_rendered_with_its_own_code(repository, capsys):
    template = repository / "templates/stack/README.md"
    template.write_text("All new.\n" + template.read_text())
    commit(repository, "another page")
    assert diff(repository) == 0
    assert "-All new." in capsys.readouterr().out, "the code that runs here writes another page than that revision"


def test_a_stack_that_is_new_is_new_as_a_whole(repository, capsys):
    shutil.copy(repository / "Pulumi.dev.yaml", repository / "Pulumi.next.yaml")
    assert diff(repository, stack="next") == 0
    assert "--- /dev/null\n+++ b/README.md" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("revision", "message"),
    [("nope", "git has no such revision here"), ("--output=x", "git has no such revision here")],
)
def test_what_git_does_not_have_is_one_message(repository, capsys, revision, message):
    assert main(["--project", str(repository), f"--diff={revision}"], root=repository) == 2
    shown = capsys.readouterr()
    assert message in shown.err
    assert "Traceback" not in shown.err
    assert not (repository / "x").exists()


def test_a_revision_that_does_not_render_says_why(repository, capsys):
    (repository / "Pulumi.dev.yaml").write_text("config: {purpleflea:hpaa: {}}\n")
    commit(repository, "broken")
    shutil.copy(ROOT / "Pulumi.dev.yaml", repository)
    assert diff(repository) == 2
    assert "HEAD: its own code does not render dev (" in capsys.readouterr().err
