"""`make image` takes the first engine that answers, and says what to do when none does.

The engines are stand-ins on the PATH that record their arguments; that the Dockerfile builds is `test_images`' matter.
"""

import shutil
import subprocess
from pathlib import Path

import pytest

from components.settings import Settings

PROJECT = Path(__file__).parents[2]
ENGINE = """#!/bin/sh
test "$1" = info && exit {status}
echo "{name} $*" >> "{log}"
"""


@pytest.fixture
def run(tmp_path):
    """Run `make image` on a PATH with these engines; each is up (0) or down (1)."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for needed in ("sh", "make", "git", "awk"):
        (programs / needed).symlink_to(shutil.which(needed))

    def make(engines: dict[str, int], *arguments: str) -> tuple[int, str, str]:
        log = tmp_path / "log"
        for name, status in engines.items():
            (programs / name).write_text(ENGINE.format(name=name, status=status, log=log))
            (programs / name).chmod(0o755)
        environment = {"PATH": f"{programs}", "HOME": f"{tmp_path}"}
        made = subprocess.run(
            ["make", "--no-print-directory", "image", *arguments],
            cwd=PROJECT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        return made.returncode, log.read_text() if log.exists() else "", made.stderr

    return make


@pytest.mark.parametrize(
    ("engines", "chosen"),
    [
        ({"docker": 0, "podman": 0}, "docker"),
        ({"docker": 1, "podman": 0, "buildah": 0}, "podman"),
        ({"docker": 1, "buildah": 0}, "buildah"),
    ],
)
def test_the_first_engine_that_answers_builds(run, engines, chosen):
    status, log, _ = run(engines, "ALLOW_TAG=1")
    assert status == 0
    assert log.startswith(f"{chosen} build --target runtime --tag {Settings().images.runtime} --build-arg REVISION=")


def test_without_an_engine_it_says_what_to_do(run):
    status, log, errors = run({"docker": 1}, "ALLOW_TAG=1")
    assert (status, log) == (2, "")
    assert "start the docker daemon" in errors


def test_engine_name_target_and_base_can_be_chosen(run):
    base = f"python:3.13-slim@sha256:{'0' * 64}"
    _, log, _ = run({"docker": 0, "podman": 1}, "ENGINE=podman", "IMAGE=mine:1", "TARGET=fly", f"BASE={base}")
    assert log.startswith(f"podman build --target fly --tag mine:1 --build-arg BASE_IMAGE={base}")


@pytest.mark.parametrize("base", [[], ["BASE=python:3.13-slim"]])
def test_a_base_without_a_digest_is_taken_on_purpose_only(run, base):
    status, log, errors = run({"docker": 0}, *base)
    assert (status, log) == (2, "")
    assert "name the base by its digest" in errors
    assert run({"docker": 0}, *base, "ALLOW_TAG=1")[0] == 0
