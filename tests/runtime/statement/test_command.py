"""The statement of a real API server's accounts, beside the operator and the sandbox's own ledger."""

import csv
import io
import json
import uuid
from decimal import Decimal

import pytest
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import ConfigMap

from runtime.contract import STATEMENT_CONFIG, Env
from tests.runtime.operator import world as worlds
from tests.runtime.statement.commands import statement, with_service, write_paid
from tests.runtime.statement.open_cost import open_cost


@pytest.fixture(params=["server", "kubernetes"])
def world(request, control_plane, namespace, sandbox):
    worlds.install_definition(control_plane)
    with worlds.world(control_plane, namespace.name, namespace.client, sandbox, request.param) as built:
        yield built


@pytest.fixture
def accounts(control_plane, namespace, sandbox):
    """A namespace with accounts written by hand."""
    worlds.install_definition(control_plane)
    with worlds.world(control_plane, namespace.name, namespace.client, sandbox, "fly") as built:
        yield built


def test_paid_disputed_and_open_are_what_the_service_says_in_every_dialect(world):
    world.operator()
    for name in ("paid", "failed", "runs"):
        labels = {"purpleflea.com/agent": name, "topology.kubernetes.io/region": "lhr"}
        world.job(name, world.fund(token=f"by-hand-{name}"), labels=labels)
        world.await_phase(name, "Funded")
    world.finish("paid")
    world.finish("failed", succeeded=False)
    world.await_phase("paid", "Settled")
    world.await_phase("failed", "Settled")
    where = ("-n", world.namespace, "--by", "agent,region")
    found = json.loads(statement(world, *where, "-o", "json", "--reconcile", **with_service(world)))
    total, books = found["total"], world.sandbox.statement()["totals"]
    kept = Decimal(books["fee"]) + Decimal(books["referral"])
    assert (Decimal(total["locked_usdc"]), Decimal(total["paid_usdc"])) == (
        Decimal(books["locked"]),
        Decimal(books["paid"]),
    )
    assert Decimal(total["fee_usdc"]) == kept
    assert (total["open_usdc"], total["disputed_usdc"], total["unexplained_usdc"]) == (
        "1.000000",
        "1.000000",
        "0.000000",
    )
    assert found["groups"]["paid lhr"]["paid_usdc"] == "0.990000"
    assert found["adds_up"] is True
    assert found["reconciliation"]["compared"] == 3
    assert found["reconciliation"]["places"]["paid"] == {"accounts_usdc": "1.000000", "service_usdc": "1.000000"}
    assert found["reconciliation"]["unseen"], "what the dialect does not show is said"
    table = statement(world, *where, "--reconcile", program="runtime.escrowctl", **with_service(world))
    assert "it adds up" in table
    assert "paid: accounts 1.000000, service 1.000000, apart 0.000000" in table


def test_what_another_hand_did_is_a_line_of_its_own_and_exit_code_1(world):
    operator = world.operator()
    for name in ("mine", "theirs"):
        world.job(name, world.fund(token=f"by-hand-{name}"))
        world.await_phase(name, "Funded")
    operator.kill()
    stolen = world.escrow("theirs")["spec"]["escrowId"]
    world.sandbox.service.escrows.release(stolen, worlds.PAYER)
    said = statement(world, "-n", world.namespace, "--reconcile", expect=1, **with_service(world))
    [difference] = [line for line in said.splitlines() if line.startswith("DIFFERENCE")]
    assert f"escrow {stolen}: it is held here and released at the service" in difference
    assert "it does not add up" in said


def test_an_escrow_that_no_account_has_is_found_where_the_service_lists(accounts):
    accounts.dialect = "kubernetes"
    extra = accounts.fund(token="nobodys-escrow")
    service = with_service(accounts)
    found = statement(accounts, "-A", "--reconcile", expect=1, **service)
    assert f"DIFFERENCE: escrow {extra}: locked at the service with 1.000000 USDC, and no account has it" in found
    narrow = statement(accounts, "-n", accounts.namespace, "--reconcile", **service)
    assert "not every namespace is in this statement: escrows without an account were not sought" in narrow


def test_fly_can_show_nothing_and_the_statement_says_so(accounts):
    write_paid(accounts)
    said = statement(accounts, "-n", accounts.namespace, "--reconcile", **with_service(accounts))
    assert "not seen: the fly dialect can neither read nor list: nothing was compared" in said
    assert "held against the service" not in said


def test_one_micro_usdc_is_exit_code_1(accounts):
    where = ("-n", accounts.namespace)
    assert f"there is no account in namespace {accounts.namespace}" in statement(accounts, *where)
    write_paid(accounts)
    said = statement(accounts, *where)
    assert "it adds up" in said
    assert "there is no account" not in said
    name = write_paid(accounts, paid="0.098999")
    said = statement(accounts, *where, expect=1)
    assert f"DIFFERENCE: {accounts.namespace}/{name}: 0.100000 came in, 0.099999 went out" in said
    rows = list(csv.DictReader(io.StringIO(statement(accounts, *where, "-o", "csv", expect=1))))
    assert [row["paid_usdc"] for row in rows if row["name"] == name] == ["0.098999"]


def test_margin_is_shown_where_the_stack_says_that_opencost_answers(accounts):
    uid, where = f"{uuid.uuid4()}", ("-n", accounts.namespace, "--month", "2026-11")
    write_paid(accounts, spec={"work": {"kind": "Job", "name": "job", "uid": uid}})
    assert "MARGIN" not in statement(accounts, *where)
    with open_cost({uid: 0.25}) as (server, url):
        about = ObjectMeta(name=STATEMENT_CONFIG, namespace=accounts.namespace)
        accounts.client.create(ConfigMap(metadata=about, data={Env.OPENCOST_URL: url}))
        [row] = csv.DictReader(io.StringIO(statement(accounts, *where, "-o", "csv")))
        assert (row["paid_usdc"], row["compute_usd"], row["margin_usdc"]) == ("0.099000", "0.250000", "-0.151000")
        assert "-0.151000" in statement(accounts, *where, program="runtime.escrowctl")
        asked = len(server.asked)
        assert "account" in statement(accounts, *where, "-o", "hledger")
        assert len(server.asked) == asked, "no journal has a place for it"
    gone = statement(accounts, *where)
    assert "MARGIN" not in gone
    assert f"no compute, no margin: OpenCost at {url}: does not answer" in gone


def test_mistakes_are_said_in_a_line(accounts):
    assert "--opencost: focus has no place for it" in statement(
        accounts, "--opencost", "http://a", "-o", "focus", expect=2
    )
    assert "http://a carries credentials" in statement(
        accounts, "--opencost", "http://u:secret@a", "--month", "2026-11", expect=2
    )
    assert "--by pod: there are account" in statement(accounts, "--by", "pod", expect=2)
    assert "PF_ESCROW_URL is not set" in statement(accounts, "--reconcile", expect=2)
