"""Settled accounts move into the archive: whenever the program is killed, none is lost and none counts twice."""

import base64
import json
import os
import ssl
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from runtime.contract import BUDGET_LABEL, Env
from runtime.retention import may_leave
from runtime.statement.archive import Archive, ArchiveError
from tests.runtime.operator import world as worlds
from tests.runtime.operator.step_proxy import Counter, StepProxy, When
from tests.runtime.statement.accounts import account, day, paid
from tests.runtime.statement.commands import ROOT, statement, write, write_paid
from tests.toolchain.fixtures import require
from tests.toolchain.s3 import BUCKET, s3_server

BEFORE = day(20)


@pytest.fixture
def world(control_plane, namespace, sandbox):
    worlds.install_definition(control_plane)
    with worlds.world(control_plane, namespace.name, namespace.client, sandbox, "fly") as built:
        yield built


@pytest.fixture(params=["folder", "s3"])
def archive(request, tmp_path):
    """Where to, and what a program needs to get there."""
    if request.param == "folder":  # its first run makes it
        yield {Env.ARCHIVE_URL: f"file://{tmp_path}/archive"}
        return
    with s3_server(require("s3", "versitygw"), tmp_path / "s3") as environment:
        yield {Env.ARCHIVE_URL: f"s3://{BUCKET}/accounts", **environment}


def retention(world, archive, kubeconfig=None, **environment):
    """One run, as the CronJob starts it; the finished or killed process."""
    mine = {
        "PATH": os.environ["PATH"],
        "KUBECONFIG": str(kubeconfig or world.cluster.kubeconfig),
        Env.WATCH_NAMESPACE: world.namespace,
        Env.ARCHIVE_AFTER_DAYS: "1",
        **archive,
        **environment,
    }
    command = [sys.executable, "-m", "runtime.retention"]
    return subprocess.Popen(command, env=mine, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def run(world, archive, expect=0, **more) -> str:
    process = retention(world, archive, **more)
    said, _ = process.communicate()
    assert process.returncode == expect, said
    return said


def told(world, archive) -> dict:
    """The statement of all there is."""
    return json.loads(statement(world, "-n", world.namespace, "-o", "json", **archive))


def sums(document) -> tuple:
    return document["total"], sorted(account["name"] for account in document["accounts"])


def names(world) -> set[str]:
    return {escrow["metadata"]["name"] for escrow in world.escrows()}


def test_what_is_settled_and_explained_moves_and_the_statement_reads_both(world, archive):
    times = {"locked_at": day(3), "closed_at": day(4)}
    leaving = {write_paid(world) for _ in range(2)}
    leaving |= {write(world, "Settled", outcome="Paid", locked="1", paid="0.99", fee="0.01", kind="Task", **times)}
    staying = {
        write(world, "Funded", locked="1", locked_at=day(3)),
        write(world, "NeedsReview", locked="1", **times),
        write(world, "Settled", outcome="Disputed", locked="1", **times),
        write(world, "Settled", outcome="Paid", locked="1", **times),
        write(world, "Settled", outcome="Cancelled", locked="1", locked_at=day(3), closed_at=datetime.now(UTC)),
    }
    before = told(world, {})
    assert "3 accounts left" in run(world, archive)
    assert names(world) == staying
    assert sums(told(world, archive)) == sums(before)
    assert {one["name"] for one in told(world, {})["accounts"]} == staying, "which the objects alone do not tell"
    assert "0 accounts left" in run(world, archive)
    assert not leaving & names(world)


class Killing:
    """Kills the program at one of its requests to the API server, all of which go by here."""

    def __init__(self, world, tmp_path: Path) -> None:
        kubeconfig = yaml.safe_load(world.kubeconfig.read_text())
        cluster = yaml.safe_load(world.cluster.kubeconfig.read_text())
        authority = base64.b64decode(cluster["clusters"][0]["cluster"]["certificate-authority-data"]).decode()
        self.tls = ssl.create_default_context(cadata=authority)
        user = cluster["users"][0]["user"]
        for name in ("certificate", "key"):
            (tmp_path / name).write_bytes(base64.b64decode(user[f"client-{name}-data"]))
        self.tls.load_cert_chain(tmp_path / "certificate", tmp_path / "key")
        self.server = cluster["clusters"][0]["cluster"]["server"]
        self._kubeconfig, self._file = kubeconfig, tmp_path / "proxied.kubeconfig"
        self.process: subprocess.Popen | None = None

    def run(self, world, archive, target: str = "", when: When = When.AFTER) -> list[str]:
        """One run that is killed at the step of that name; the names of all its steps."""

        def hook(step, moment) -> bool:
            if step.name != target or moment is not when:
                return False
            self.process.kill()
            return True

        counter = Counter(hook)
        with StepProxy(self.server, counter, tls=self.tls, all_steps=True) as proxy:
            config = {**self._kubeconfig, "clusters": [{"name": "c", "cluster": {"server": proxy.url}}]}
            context = {"cluster": "c", "user": "u", "namespace": world.namespace}
            config |= {"users": [{"name": "u", "user": {}}], "contexts": [{"name": "c", "context": context}]}
            self._file.write_text(yaml.safe_dump(config | {"current-context": "c"}))
            self.process = retention(world, archive, self._file)
            self.process.communicate()
        return [step.name for step in counter.steps]


def test_killed_at_any_request_nothing_is_lost_and_nothing_counts_twice(world, tmp_path):
    (tmp_path / "archive").mkdir()
    archive = {Env.ARCHIVE_URL: f"file://{tmp_path}/archive"}
    killing = Killing(world, tmp_path)
    for _ in range(3):
        write_paid(world)
    write(world, "Funded", locked="1", locked_at=day(3))
    before = sums(told(world, archive))
    # Between these requests the file is written and read back: it is there when the first object is removed.
    for kind, when in (("GET escrows", When.AFTER), ("DELETE escrows", When.BEFORE), ("DELETE escrows", When.AFTER)):
        steps = killing.run(world, archive, f"{kind.replace(' ', ' /apis/purpleflea.com/namespaces/')} #1", when)
        assert killing.process.returncode == -9, steps
        assert sums(told(world, archive)) == before, f"{kind} {when}"
    killing.run(world, archive)
    assert killing.process.returncode == 0
    assert len(names(world)) == 1
    assert sums(told(world, archive)) == before


def test_a_damaged_file_is_named_and_nothing_is_claimed(world, tmp_path):
    (tmp_path / "archive").mkdir()
    archive = {Env.ARCHIVE_URL: f"file://{tmp_path}/archive"}
    write_paid(world)
    run(world, archive)
    [file] = (tmp_path / "archive").rglob("*.jsonl")
    file.with_name(f"{file.name}#1").write_text("half a li")  # what a killed write leaves
    assert len(told(world, archive)["accounts"]) == 1
    file.write_bytes(file.read_bytes().replace(b'"0.099"', b'"0.098"'))
    said = statement(world, "-n", world.namespace, expect=1, **archive)
    assert "is damaged: its content has another checksum" in said


def test_what_cannot_be_written_is_not_removed(world, tmp_path):
    write_paid(world)
    missing = run(world, {Env.ARCHIVE_URL: f"file://{tmp_path}/missing/folder"}, expect=2)
    assert "archive file://" in missing
    nowhere = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_ALLOW_HTTP": "true", "AWS_ACCESS_KEY_ID": "a"}
    nowhere |= {"AWS_SECRET_ACCESS_KEY": "b", "AWS_REGION": "r", "AWS_MAX_RETRIES": "0"}
    assert "was not written" in run(world, {Env.ARCHIVE_URL: "s3://nowhere", **nowhere}, expect=1)
    assert len(names(world)) == 1


def test_the_same_accounts_are_written_once(tmp_path):
    archive = Archive(f"file://{tmp_path}")
    line = b'{"metadata": {"name": "a", "namespace": "n"}}'
    name = archive.write("n", day(4).date(), [line])
    assert archive.write("n", day(4).date(), [line]) == name
    (tmp_path / name).write_bytes(b"something else")
    with pytest.raises(ArchiveError, match="does not hold what was written"):
        archive.write("n", day(4).date(), [line])


JOBS = frozenset({"u-alive"})


@pytest.mark.parametrize(
    ("escrow", "leaves"),
    [
        (paid(), True),
        (account("Settled", outcome="Cancelled", closed_at=day(4), spec={"escrowId": None}), True),
        (paid(closed_at=BEFORE + timedelta(seconds=1)), False),
        (paid(labels={BUDGET_LABEL: "counts"}), False),
        (paid(net="0.098999"), False),
        (paid(spec={"work": {"kind": "Job", "name": "alive", "uid": "u-alive"}}), False),
        (paid(spec={"work": {"kind": "Job", "name": "n", "uid": "u", "id": "mine"}}), False),
        (paid(spec={"work": {"kind": "Job", "name": "n", "uid": "u", "id": "mine@by-hand/x"}}), False),
        (paid(spec={"work": {"kind": "Job", "name": "n", "uid": "u", "id": "mine@2026-11-03T00:00:00Z"}}), True),
        (paid(kind="Task"), True),
        (account("Settled", outcome="Disputed", locked="1", locked_at=day(3), closed_at=day(4)), False),
        (account("NeedsReview", locked="1", locked_at=day(3), closed_at=day(4)), False),
        (account("Funded", locked="1", locked_at=day(3)), False),
    ],
)
def test_which_accounts_leave(escrow, leaves):
    assert may_leave(escrow, BEFORE, set(JOBS)) is leaves
