"""What the proofs share: an operator whose requests are numbered, and its accounts held against the ledger."""

import base64
import ssl
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml
from lightkube.types import PatchType

from runtime.contract import Env
from runtime.kubernetes.shape import stamp
from runtime.sandbox.testing import Received, RunningSandbox
from tests.runtime.operator.step_proxy import Counter, StepProxy
from tests.runtime.operator.world import Escrow, World

ENDS = {"Paid": "released", "Disputed": "disputed", "Refunded": "refunded", "Cancelled": "cancelled"}


@contextmanager
def numbered(world: World, counter: Counter, login: Path | None = None):
    """Both servers behind proxies that number a program's steps: the changed environment, and the API's proxy.

    `login` is a kubeconfig of its own; without one it is the operator's.
    """
    kubeconfig = yaml.safe_load((login or world.kubeconfig).read_text())
    cluster = kubeconfig["clusters"][0]["cluster"]
    authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
    tls = ssl.create_default_context(cadata=authority)
    with ExitStack() as stack:
        api = stack.enter_context(StepProxy(cluster["server"], counter, tls=tls, all_steps=False))
        payments = stack.enter_context(StepProxy(world.sandbox.url, counter, all_steps=True))
        kubeconfig["clusters"][0]["cluster"] = {"server": api.url}
        proxied = world.kubeconfig.with_name(f"{world.namespace}.proxied.kubeconfig")
        proxied.write_text(yaml.safe_dump(kubeconfig))
        yield {"KUBECONFIG": str(proxied), Env.ESCROW_URL: payments.url}, api


def agree(world: World, *, unfunded: bool = False) -> dict[str, str]:
    """Hold every Escrow of the world against the ledger; the phase of each Job's.

    `unfunded`: a Job may have ended before anything was locked for it.
    """
    sent_once(world.sandbox)
    statement = world.sandbox.statement()
    assert statement["balanced"], statement["findings"]
    booked = {entry["escrow_id"]: entry for entry in statement["escrows"]}
    phases = {}
    for escrow in world.escrows():
        status, entry = escrow["status"], booked.get(escrow["spec"].get("escrowId"))
        phases[escrow["spec"]["job"]["name"]] = status["phase"]
        if status["phase"] != "Settled":
            continue
        if unfunded and status["outcome"] == "Cancelled" and "escrowId" not in escrow["spec"]:
            continue
        assert entry, f"settled without an escrow: {escrow}"
        assert entry["status"] == ENDS[status["outcome"]], escrow
        assert status["lockedUsdc"] == entry["locked_usdc"]
        if status["outcome"] == "Paid":
            assert status.get("paidUsdc", entry["paid_usdc"]) == entry["paid_usdc"]
    payees = [entry["to"] for entry in statement["escrows"]]
    assert len(payees) == len(set(payees)), "a second escrow was created for one Job"
    return phases


def sent_once(sandbox: RunningSandbox) -> None:
    """Nothing is sent for an escrow, and no create with a token, once the service has carried one out.

    Counted by what arrives: the service itself refuses to pay an escrow twice, and would hide it.
    """
    done: dict[str, Received] = {}
    for call in sandbox.received:
        earlier = done.get(call.subject)
        assert not earlier, f"{call} was sent after {earlier}"
        if call.carried_out:
            done[call.subject] = call


def let_time_pass(world: World) -> None:
    """What was sent and may still be on its way is waited for; here that time is over."""
    long_ago = stamp(datetime.now(UTC) - timedelta(minutes=10))
    for escrow in world.escrows():
        status = escrow.get("status", {})
        notes = {("creation", "sentAt"), ("lastAnswer", "time")}
        older = {note: {moment: long_ago} for note, moment in notes if status.get(note)}
        if older:
            world.client.patch(Escrow.Status, escrow["metadata"]["name"], {"status": older}, patch_type=PatchType.MERGE)
