"""Litestream for real, at a real S3 server: a volume is lost, and its ledger comes back on another Machine."""

import os
import shutil
import sys

import pytest

from tests.conformance.world import World
from tests.runtime.agent.conftest import ROOT, books_in_process
from tests.toolchain import waiting
from tests.toolchain.fixtures import require
from tests.toolchain.s3 import BUCKET, s3_server

COMMAND = [sys.executable, "-m", "runtime.agent.backed_up"]


@pytest.fixture
def bucket(tmp_path):
    """Its folder, and what a program needs to get there."""
    litestream = require("s3", "litestream")
    with s3_server(require("s3", "versitygw"), tmp_path / "s3") as environment:
        search = f"{litestream.parent}:{os.environ['PATH']}"
        yield tmp_path / "s3" / BUCKET, environment | {"PATH": search, "PF_BACKUP_URL": f"s3://{BUCKET}/ledgers"}


def test_a_lost_volumes_ledger_comes_back_and_begins_nothing_before_a_person_says_so(
    bucket, sandbox, tmp_path, monkeypatch
):
    objects, environment = bucket
    monkeypatch.delenv("AWS_CA_BUNDLE", raising=False)  # Litestream, which `books` starts, opens no bucket with it
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    volumes = [tmp_path / name for name in ("machine-1", "machine-2")]
    world = World(COMMAND, sandbox, volumes[0])
    try:
        world.environment |= environment | {"PYTHONPATH": str(ROOT)}
        for volume in volumes:
            volume.mkdir()
        world.start()
        first = world.infer("once", "key")
        assert first.status_code == 200
        # Who ends within Litestream's first second has all on its volume, and nothing in the bucket.
        waiting.until("the first copy is there", lambda: (objects / "ledgers" / "conformance").exists())
        assert world.infer("x" * 700).status_code == 200
        assert world.stop() == 0
        [path] = (objects / "ledgers" / "conformance").iterdir()
        assert path.name.startswith("machine-1-")
        shutil.rmtree(volumes[0])

        world.folder = volumes[1]
        (volumes[1] / "ledger.db").touch()  # Litestream would take it for a ledger
        source = f"s3://{BUCKET}/ledgers/conformance/{path.name}"
        world.environment |= {"DATA_DIR": str(volumes[1]), "FLY_MACHINE_ID": "machine-2", "PF_RESTORE_FROM": source}
        world.start()
        assert world.states() == {"released": 2}
        assert "restored" in world.http.get("/ready").json()["reasons"][0]
        refused = world.infer("new")
        assert (refused.status_code, refused.json()["error"]) == (503, "restored")
        decided = ("--by", "me", "--why", "compared with the service")
        assert books_in_process(volumes[1], "confirm", *decided).returncode == 0
        assert world.infer("once", "key").json() == first.json() | {"replayed": True}
        assert world.infer("new").json()["status"] == "released"
        again = books_in_process(volumes[1], "restore", source)
        assert (again.returncode, "put it aside" in again.stderr) == (2, True)
        waiting.until("the second Machine copies to a path of its own", lambda: len([*path.parent.iterdir()]) == 2)
        assert world.stop() == 0
        world.balanced()
    finally:
        world.close()
    shutil.copytree(path, path.parent / "machine-9-1")
    other = tmp_path / "other"
    other.mkdir()
    mixed = books_in_process(other, "restore", f"s3://{BUCKET}/ledgers/conformance/machine-9-1")
    assert (mixed.returncode, "two ledgers" in mixed.stderr) == (2, True), mixed.stderr
    nothing = books_in_process(other, "restore", f"s3://{BUCKET}/ledgers/conformance/nobody-1")
    assert (nothing.returncode, "nothing could be restored" in nothing.stderr) == (2, True)
    assert [each.name for each in other.iterdir()] == ["slot-0.lock"]
