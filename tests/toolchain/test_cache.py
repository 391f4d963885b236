"""The cache: an entry is whole or not there, and one process at a time makes it."""

import os
import subprocess
import sys
import time

import pytest

from tests.toolchain import cache
from tests.toolchain.cluster import REPOSITORY

MAKE = """if True:
    import sys
    from pathlib import Path
    from tests.toolchain import cache

    def make(part):
        (part / "first").touch()
        print("making", flush=True)
        sys.stdin.read()
        (part / "second").touch()

    print(sorted(file.name for file in cache.fill("thing", "1", make).iterdir()))
"""


@pytest.fixture
def home(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", f"{tmp_path}")
    return cache.root()


@pytest.fixture
def maker(home):
    """Starts a process that begins an entry and finishes it when its standard input is closed."""
    processes = []

    def start():
        pipe = subprocess.PIPE
        process = subprocess.Popen(
            [sys.executable, "-c", MAKE], cwd=REPOSITORY, stdin=pipe, stdout=pipe, stderr=pipe, text=True
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def test_second_caller_waits_for_the_first_and_says_so(maker):
    first = maker()
    assert first.stdout.readline() == "making\n"
    second = maker()
    waiting = f"toolchain: waiting for process {first.pid}, which prepares thing (1)\n"
    assert second.stderr.readline() == waiting
    whole = "['first', 'second']\n"
    assert first.communicate()[0] == whole
    assert second.communicate()[0] == whole, "and makes nothing itself"


def test_entry_of_a_killed_maker_is_never_used(maker, home):
    killed = maker()
    killed.stdout.readline()
    killed.kill()
    killed.wait()
    assert not cache.entry("thing", "1").exists()
    later = maker()
    assert later.stdout.readline() == "making\n"
    assert later.communicate()[0] == "['first', 'second']\n"
    assert [path.name for path in (home / "thing").iterdir()] == ["1"]


def test_failure_leaves_no_entry(home):
    def fail(part):
        (part / "half").touch()
        raise OSError("interrupted")

    with pytest.raises(OSError, match="interrupted"):
        cache.fill("thing", "1", fail)
    assert list((home / "thing").iterdir()) == []


def test_long_unused_entry_goes_when_another_is_made(home):
    old, recent = (cache.fill("thing", key, lambda part: None) for key in ("old", "recent"))
    long_ago = time.time() - (cache.UNUSED_DAYS + 1) * 86400
    os.utime(old, (long_ago, long_ago))
    cache.fill("thing", "new", lambda part: None)
    assert not old.exists()
    assert recent.exists()
