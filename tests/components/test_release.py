"""A release as a stranger takes it: its checksums, twice the same bytes, and the wheel in an environment of its own."""

import hashlib
import os
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

from components.release import SUMS, main
from runtime.contract import VERSION

ROOT = Path(__file__).parents[2]
COMMIT = {"GIT_AUTHOR_DATE": "2026-11-28T00:00:00Z", "GIT_COMMITTER_DATE": "2026-11-28T00:00:00Z"}


def run(*words: object, **options) -> str:
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A commit of what git would take of this working tree."""
    folder = tmp_path_factory.mktemp("checkout")
    git = ["git", "-c", "user.name=tests", "-c", "user.email=tests@example.invalid", "-C", folder]
    listed = run("git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    for name in filter(None, listed):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes((ROOT / name).read_bytes())
    run(*git, "init", "-q")
    run(*git, "add", "--all")
    run(*git, "commit", "-q", "-m", "release", env=os.environ | COMMIT)
    return folder


@pytest.fixture(scope="module")
def released(checkout, tmp_path_factory):
    """Its folder."""
    out, bill = tmp_path_factory.mktemp("release"), tmp_path_factory.mktemp("sbom") / "runtime.cdx.json"
    bill.write_text("{}")
    assert main(["--project", str(checkout), "--out", str(out), "--also", str(bill)]) == 0
    return out


def test_its_checksums_are_those_of_its_files(released):
    sums = dict(reversed(line.split("  ")) for line in (released / SUMS).read_text().splitlines())
    files = {file.name for file in released.iterdir()} - {SUMS}
    assert files == set(sums)
    assert {name.partition("-")[2] for name in files} == {
        f"{VERSION}-py3-none-any.whl",
        f"{VERSION}.tgz",
        f"dev-{VERSION}.tar.gz",
        f"{VERSION}-runtime.cdx.json",
    }
    for name, digest in sums.items():
        assert hashlib.sha256((released / name).read_bytes()).hexdigest() == digest


def test_the_same_commit_gives_the_same_bytes(checkout, released, tmp_path):
    again = tmp_path / "again"
    bill = released / f"purpleflea-{VERSION}-runtime.cdx.json"
    (tmp_path / "runtime.cdx.json").write_bytes(bill.read_bytes())
    assert main(["--project", str(checkout), "--out", str(again), "--also", str(tmp_path / "runtime.cdx.json")]) == 0
    assert (again / SUMS).read_text() == (released / SUMS).read_text()


def test_a_release_is_of_a_commit_and_has_nothing_of_another_one(checkout, released, tmp_path, capsys):
    (checkout / "unknown.txt").write_text("not committed")
    try:
        assert main(["--project", str(checkout), "--out", str(tmp_path / "out")]) == 2
        assert "unknown.txt" in capsys.readouterr().err
        assert not (tmp_path / "out").exists()
    finally:
        (checkout / "unknown.txt").unlink()
    assert main(["--project", str(checkout), "--out", str(tmp_path / "out"), "--also", "no-sbom"]) == 2
    assert "there is no file no-sbom" in capsys.readouterr().err
    assert main(["--project", str(checkout), "--out", str(released)]) == 2
    assert "is not empty" in capsys.readouterr().err


def test_the_stacks_files_are_those_of_render(released):
    with tarfile.open(released / f"purpleflea-dev-{VERSION}.tar.gz") as archive:
        modes = {entry.name.partition("/")[2]: entry.mode for entry in archive}
    assert {"README.md", "foundation/kustomization.yaml", "fly/secrets.sh"} <= set(modes)
    assert (modes["fly/secrets.sh"], modes["README.md"]) == (0o755, 0o644)


def test_the_wheel_has_every_file_that_its_programs_read(checkout, released):
    (wheel,) = released.glob("*.whl")
    shipped = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("runtime/")}
    assert shipped == set(run("git", "-C", checkout, "ls-files", "runtime").splitlines())


def test_the_wheel_works_where_nothing_else_of_the_project_is(released, tmp_path):
    (wheel,) = released.glob("*.whl")
    python = tmp_path / "bin" / "python"
    run(sys.executable, "-m", "venv", "--without-pip", tmp_path)
    run(sys.executable, "-m", "pip", f"--python={python}", "install", "--quiet", "--no-index", "--no-deps", wheel)
    site = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
    # What it depends on is pinned and installed already: from here, without the project.
    Path(site, "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    assert VERSION in run(tmp_path / "bin" / "escrowctl", "--version", cwd=tmp_path)
    assert "statement" in run(tmp_path / "bin" / "kubectl-purpleflea", "--help", cwd=tmp_path)
    pays = run(python, "-m", "runtime.demo", "--dialect", "kubernetes", cwd=tmp_path)
    assert "the books balance" in pays
