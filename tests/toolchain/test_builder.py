"""Real `go build`s: of the smallest program, and of ones that fail the way they do on a bad day."""

import shutil
import socket
import subprocess
import sys

import pytest

from tests.toolchain import builder, cache, tools
from tests.toolchain.cluster import REPOSITORY

PAUSE = tools.TOOLS["pause"]


@pytest.fixture
def home(monkeypatch, tmp_path):
    """An empty cache and a Go."""
    if not shutil.which("go"):
        pytest.skip("[controlplane] no Go on the PATH to build anything; install Go 1.26 or newer")
    go_cache = subprocess.run(["go", "env", "GOCACHE"], capture_output=True, text=True, check=True).stdout.strip()
    monkeypatch.setenv("GOCACHE", go_cache)  # Go's own stays warm: it follows XDG_CACHE_HOME
    monkeypatch.setenv("XDG_CACHE_HOME", f"{tmp_path}")
    return cache.root()


def test_build_is_made_once_and_found_by_its_inputs(home):
    (home / "pause" / "1-0123456789ab").mkdir(parents=True)
    (home / "pause" / "1-0123456789ab" / "pause").touch()
    assert builder.cached(PAUSE) is None, "an old build of other inputs is not used"
    built = builder.build(PAUSE)
    made = built.stat().st_ino
    assert builder.build(PAUSE).stat().st_ino == made
    assert builder.cached(PAUSE) == built


def test_interrupted_download_says_so_and_leaves_nothing(home, monkeypatch, tmp_path):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound, not listening: every connection is refused
        monkeypatch.setenv("GOPROXY", f"http://127.0.0.1:{closed.getsockname()[1]}")
        monkeypatch.setenv("GOMODCACHE", f"{tmp_path / 'modules'}")
        monkeypatch.setenv("GOFLAGS", "-modcacherw")
        with pytest.raises(tools.Missing, match="the download of Go modules was interrupted; run it again"):
            builder.build(tools.TOOLS["etcd"])
    assert list((home / "etcd").iterdir()) == []


def test_full_disk_is_refused_before_the_build(home, tmp_path):
    build = "from tests.toolchain import builder, tools; builder.build(tools.TOOLS['etcd'])"
    script = 'mount -t tmpfs -o size=1m tmpfs "$XDG_CACHE_HOME" && exec "$0" -c "$1"'
    command = ["unshare", "--mount", "sh", "-c", script, sys.executable, build]
    run = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if "unshare failed" in run.stderr:
        pytest.skip("[node] a small file system cannot be mounted; run it as root")
    assert f"{tmp_path}/purpleflea/toolchain has 0 MB left; free some space" in run.stderr


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        ("write /tmp/go-build1/b1/_pkg_.a: no space left on device", "the disk is full"),
        ("go: go.mod requires go >= 1.26.0 (running go 1.22.1; GOTOOLCHAIN=local)", "a newer Go is needed"),
        ("go: errors parsing go.mod:\ngo.mod:80: unknown directive: tool", "this Go is too old"),
        ("verifying example.com/a@v1.0.0: checksum mismatch\nSECURITY ERROR", "differs from its checksum"),
        ("k8s.io/kubernetes: compile: signal: killed", "ran out of memory"),
        ("something new", "see Go's own words"),
    ],
)
def test_what_go_says_is_explained(said, remedy):
    explained = builder.explain(tools.RECIPES["etcd"], said)
    assert remedy in explained
    assert said.splitlines()[-1] in explained
