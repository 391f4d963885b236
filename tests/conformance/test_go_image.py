"""The Go agent's Dockerfile without its base image: the files that it names are there, its commands work as written."""

import os
import re
import shutil
import subprocess

import pytest

from components.manifests.fly_go import go_files
from tests.conformance import go_agent

DOCKERFILE = go_files()["fly/go/Dockerfile"]


def steps():
    """Each instruction and its arguments, with continued lines joined."""
    joined = re.sub(r"\\\n\s*", "", DOCKERFILE)
    return [tuple(line.split(" ", 1)) for line in joined.splitlines() if line and line[0] != "#"]


def test_its_stages_and_files_are_there():
    files = {path.removeprefix("fly/go/") for path in go_files()}
    stages = [arguments.split(" AS ") for word, arguments in steps() if word == "FROM"]
    assert stages == [["${GO_IMAGE}", "builder"], ["scratch"]]
    copies = [arguments.split() for word, arguments in steps() if word == "COPY"]
    assert [parts for parts in copies if parts[0].startswith("--from=") and parts[0] != "--from=builder"] == []
    named = {source for parts in copies if not parts[0].startswith("--") for source in parts[:-1]} - {"."}
    assert named
    assert named <= files
    [version] = re.findall(r"golang:(\d+\.\d+)", DOCKERFILE)
    [needed] = re.findall(r"^go (\d+\.\d+)", go_files()["fly/go/go.mod"], re.M)
    assert tuple(map(int, version.split("."))) >= tuple(map(int, needed.split(".")))


def test_its_commands_build_what_the_last_stage_copies(tmp_path):
    if not shutil.which("go") or os.geteuid():
        pytest.skip("needs Go on the PATH, and root for chown: what an image builder has")
    build = go_agent.write(go_files(), tmp_path / "build")
    image = tmp_path / "image"
    environment = os.environ | {"GOWORK": "off"}
    for word, arguments in steps():
        if word == "RUN":
            command = arguments.replace("/image", str(image))
            done = subprocess.run(["sh", "-ec", command], cwd=build, env=environment, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
    [command] = [arguments for word, arguments in steps() if word == "CMD"]
    assert command == '["/agent"]'
    assert os.access(image / "agent", os.X_OK)
    assert b"/ld-linux" not in (image / "agent").read_bytes(), "the last stage has no libraries"
    assert (image / "etc/ssl/certs/ca-certificates.crt").stat().st_size > 100_000
    [user] = [arguments for word, arguments in steps() if word == "USER"]
    data = (image / "data").stat()
    assert f"{data.st_uid}:{data.st_gid}" == user
