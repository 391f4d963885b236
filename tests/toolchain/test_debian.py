"""Debian packages without installing them, from a repository that the test makes."""

import hashlib
import shutil
import subprocess

import pytest

from tests.toolchain import cache, debian
from tests.toolchain.tools import Missing


def package(repository, name, files, depends=""):
    """Build a package whose `files` are scripts by path, and return its entry for the index."""
    tree = repository / name
    for path, text in files.items():
        file = tree / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(0o755)
    fields = f"Package: {name}\nVersion: 1.0\nArchitecture: all\nMaintainer: Tests <tests@localhost>\n"
    fields += f"Depends: {depends}\n" if depends else ""
    (tree / "DEBIAN").mkdir()
    (tree / "DEBIAN" / "control").write_text(f"{fields}Description: made by a test\n")
    archive = repository / f"{name}.deb"
    subprocess.run(["dpkg-deb", "--build", "-Znone", tree, archive], check=True, capture_output=True)
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    return f"{fields}Filename: ./{archive.name}\nSize: {archive.stat().st_size}\nSHA256: {digest}\n\n"


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A machine whose apt knows one repository, whose lists it has not read yet, and an empty cache."""
    if not shutil.which("apt-get"):
        pytest.skip("[node] no apt here; nothing of Debian is used then")
    place = tmp_path / "repository"
    (tmp_path / "lists" / "partial").mkdir(parents=True)
    place.mkdir()
    (tmp_path / "sources.list").write_text(f"deb [trusted=yes] copy://{place} ./\n")
    (tmp_path / "apt.conf").write_text(
        f'Dir::Etc::sourcelist "{tmp_path}/sources.list";\nDir::Etc::sourceparts "-";\n'
        f'Dir::State::lists "{tmp_path}/lists";\n'
    )
    monkeypatch.setenv("APT_CONFIG", f"{tmp_path / 'apt.conf'}")
    monkeypatch.setenv("XDG_CACHE_HOME", f"{tmp_path / 'cache'}")
    return place


def test_program_runs_with_the_library_that_came_along(repository):
    shows = '#!/bin/sh\necho "$LD_LIBRARY_PATH" "$1"\n'
    index = package(repository, "flea-tool", {"usr/bin/flea-tool": shows}, depends="libflea")
    index += package(repository, "libflea", {"usr/lib/flea/libflea.so.1": "no real library"})
    (repository / "Packages").write_text(index)
    program = debian.programs("flea-tool") / "flea-tool"
    printed = subprocess.run([program, "argument"], check=True, capture_output=True, text=True).stdout
    library, argument = printed.split()
    assert argument == "argument"
    assert library.startswith(f"{cache.root()}/debian-flea-tool/")
    assert library.endswith("/usr/lib/flea")
    assert not shutil.which("flea-tool"), "nothing is installed"


def test_package_that_is_not_there_is_named_and_leaves_nothing(repository):
    (repository / "Packages").write_text("")
    with pytest.raises(Missing, match=r"apt could not fetch no-such-flea .*Unable to locate package no-such-flea"):
        debian.programs("no-such-flea")
    assert list((cache.root() / "debian-no-such-flea").iterdir()) == []


def test_interrupted_download_says_to_run_it_again(repository):
    (repository / "Packages").write_text(package(repository, "flea-tool", {"usr/bin/flea-tool": "#!/bin/sh\n"}))
    (repository / "flea-tool.deb").write_bytes(b"half of it")
    with pytest.raises(Missing, match=r"apt could not fetch flea-tool .*Run it again"):
        debian.programs("flea-tool")
    assert list((cache.root() / "debian-flea-tool").iterdir()) == []
