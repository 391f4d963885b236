"""The statement and its accounts on a real API server, as a person runs and writes them."""

import os
import subprocess
import sys
from pathlib import Path

from lightkube.types import PatchType

from runtime.contract import Env
from tests.runtime.operator.world import Escrow
from tests.runtime.statement.accounts import day, document

ROOT = Path(__file__).parents[3]


def statement(world, *words: str, expect: int = 0, program: str = "runtime.statement", **environment: str) -> str:
    """Run it as a person would; its output, and what it says to them."""
    command = [sys.executable, "-m", program, *(["statement"] if program.endswith("ctl") else []), *words]
    mine = {"PATH": os.environ["PATH"], "KUBECONFIG": str(world.cluster.kubeconfig), **environment}
    done = subprocess.run(command, env=mine, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == expect, f"{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return done.stdout if done.stdout else done.stderr


def with_service(world) -> dict[str, str]:
    service = {Env.ESCROW_URL: world.sandbox.url, Env.API_DIALECT: world.dialect, Env.API_KEY: world.key}
    return {**service, Env.ALLOW_HTTP: "true"}


def write(world, phase: str, **facts) -> str:
    """An account as somebody wrote it; its name."""
    body = document(phase, **facts) | {"apiVersion": "purpleflea.com/v1alpha1", "kind": "Escrow"}
    status = body.pop("status")
    metadata = {"name": body["metadata"]["name"], "labels": body["metadata"]["labels"]}
    world.client.create(Escrow({**body, "metadata": metadata}))
    world.client.patch(Escrow.Status, metadata["name"], {"status": status}, patch_type=PatchType.MERGE)
    return metadata["name"]


def write_paid(world, paid: str = "0.099", **facts) -> str:
    times = {"locked_at": day(3), "closed_at": day(4)}
    return write(world, "Settled", outcome="Paid", locked="0.10", paid=paid, fee="0.001", **times, **facts)
