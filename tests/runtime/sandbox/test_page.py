"""The ledger page, the statement and the probes: whole, truthful, and nothing from elsewhere."""

import csv
import io
import re
from decimal import Decimal
from html.parser import HTMLParser

import pytest

EVIL = "<script>alert(1)</script>"


@pytest.fixture
def busy(sandbox, as_agent):
    payer = as_agent("payer", "10.00")
    make = {"amount": 1, "terms_hash": EVIL}
    ids = [payer.post("/api/escrow", json=make | {"payee_id": who}).json()["escrow_id"] for who in ("w", EVIL, "=cmd")]
    payer.post(f"/api/escrow/{ids[0]}/release")
    sandbox.fault("release", moment="between", nth=1)
    payer.post(f"/api/escrow/{ids[2]}/release")
    return payer


class Elements(HTMLParser):
    def __init__(self, html):
        super().__init__()
        self.found, self.text = [], []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text.append(data)


def test_the_page_shows_the_books_and_runs_nothing_but_its_own_script(busy):
    answer = busy.get("/")
    page = Elements(answer.text)
    policy = answer.headers["content-security-policy"]
    nonce = re.search(r"script-src 'nonce-([^']+)'", policy)[1]
    assert policy.startswith("default-src 'none'")
    scripts = [attributes for tag, attributes in page.found if tag == "script"]
    assert scripts == [{"nonce": nonce}]
    assert EVIL in "".join(page.text)  # as text
    for tag, attributes in page.found:
        links = [attributes.get(name) for name in ("src", "href", "action") if name in attributes]
        assert all(link.startswith(("/statement", "/metrics", "/openapi.json", "data:,")) for link in links), (
            tag,
            links,
        )
        assert not any(name.startswith("on") for name in attributes)
    shown = " ".join(" ".join(page.text).split())
    for words in ("Books balance", "released 1", "funded 2", "paid, status not changed", "release: status between"):
        assert words in shown
    assert busy.get("/").headers["content-security-policy"] != policy


def test_an_empty_ledger_has_a_page_too(anyone):
    shown = " ".join(Elements(anyone.get("/").text).text)
    assert "Books balance" in shown
    assert "Nothing has moved." in shown


def test_the_statement_says_where_every_cent_went(busy):
    document = busy.get("/statement").json()
    totals = {name: Decimal(amount) for name, amount in document["totals"].items()}
    assert document["balanced"] is True
    assert totals["locked"] == totals["paid"] + totals["fee"] + totals["referral"] + totals["refunded"] + totals["held"]
    assert totals["deposited"] + totals["granted"] == totals["in_wallets"] + totals["held"] + totals["fee"]
    assert sum(Decimal(account["balance_usdc"]) for account in document["accounts"]) == 0
    assert (
        sum(Decimal(entry["amount_usdc"]) for entry in document["entries"] if entry["role"] == "paid") == totals["paid"]
    )
    settled = {
        escrow["to"]: (escrow["status"], escrow["settled_by"], escrow["paid_usdc"]) for escrow in document["escrows"]
    }
    assert settled == {
        "w": ("released", "release", "0.99"), EVIL: ("funded", None, "0.00"), "=cmd": ("funded", "release", "0.99"),
    }  # fmt: skip


def test_the_csv_has_the_same_movements_and_no_formula(busy):
    rows = list(csv.DictReader(io.StringIO(busy.get("/statement.csv").text)))
    entries = busy.get("/statement").json()["entries"]
    assert [row["amount_usdc"] for row in rows] == [entry["amount_usdc"] for entry in entries]
    assert any(row["to"] == "wallet:=cmd" for row in rows)
    assert not any(value.startswith(("=", "+", "@")) for row in rows for value in row.values())


def test_probes_and_metrics_read_the_ledger(busy):
    assert busy.get("/livez").status_code == 200
    assert busy.get("/readyz").status_code == 200
    metrics = busy.get("/metrics").text
    assert 'sandbox_escrows{status="funded"} 2.0' in metrics
    assert 'sandbox_balance_usdc{account="deposits"} -10.0' in metrics
    assert 'sandbox_requests_total{dialect="kubernetes",operation="create",status="200"} 3.0' in metrics


def test_a_broken_ledger_is_told_by_probe_page_and_answer(sandbox, busy):
    sandbox.service.database._connection.execute("DROP TRIGGER legs_are_never_changed")
    with sandbox.service.database.transaction() as connection:
        connection.execute("UPDATE legs SET amount = amount + 1 WHERE rowid = 1")
    assert "Books do not balance" in busy.get("/").text
    assert busy.get("/statement").json()["balanced"] is False
    sandbox.service.database._connection.execute("DROP TABLE api_keys")
    answer = busy.get("/api/escrows")
    assert (answer.status_code, answer.json()) == (500, {"error": "internal_error"})
    sandbox.service.database._connection.close()
    assert busy.get("/readyz").status_code == 503
    assert busy.get("/livez").status_code == 200
