"""Settler and payment service are killed again and again (SIGKILL) among random faults: every cent is accounted for.

`SOAK_ESCROWS=5000 pytest tests/runtime/test_settlement_soak.py` runs the long one.
"""

import asyncio
import collections
import json
import os
import random
import subprocess
import sys

from runtime.contract import Phase
from runtime.money import ZERO, Usdc
from runtime.payments import Credentials, EscrowRequest, PaymentsClient, escrow_token
from runtime.sandbox.testing import SandboxProcess
from runtime.settlement.journal import SqliteJournal
from runtime.settlement.table import Intent, Outcome
from tests.runtime.settlement_worker import read_cases
from tests.runtime.settling import STATUS_OF, TLS

ESCROWS = int(os.environ.get("SOAK_ESCROWS", "120"))
AMOUNT = Usdc.parse("0.10")
FAULTS = [
    ("release", {"kind": "reset", "moment": "after"}),
    ("release", {"kind": "reset", "moment": "before"}),
    ("release", {"kind": "status", "moment": "between"}),
    ("dispute", {"kind": "half", "moment": "after"}),
    ("read", {"kind": "html", "moment": "before"}),
    ("read", {"kind": "reset", "moment": "after"}),
]


async def lock(url, key, cases_file):
    async with PaymentsClient("server", url, Credentials(key), tls=TLS, allow_http=True) as client:
        cases = []
        for n in range(ESCROWS):
            order = EscrowRequest(payee="ag_payee", amount=AMOUNT, token=escrow_token(f"soak-{n}"))
            intent = Intent.DISPUTE if n % 5 == 4 else Intent.RELEASE
            cases.append((f"soak-{n}", (await client.create_escrow(order)).id, intent, str(AMOUNT), "ag_payee"))
    cases_file.write_text(json.dumps(cases))


def make_faulty(sandbox):
    for seed, (operation, rule) in enumerate(FAULTS):
        sandbox.fault(operation, every=11 + seed, **rule)


def work(arguments, lines=None):
    """Run the worker to its end, or kill it after it has said so many lines."""
    command = [sys.executable, "-m", "tests.runtime.settlement_worker", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as worker:
        for number, _ in enumerate(worker.stdout):
            if number == lines:
                worker.kill()
    return worker.returncode


def test_whoever_is_killed_every_cent_is_accounted_for(tmp_path):
    chance = random.Random(7)
    database, cases_file, journal_file = (tmp_path / name for name in ("ledger.db", "cases.json", "journal.db"))
    sandbox = SandboxProcess(database)
    port = sandbox.url.rsplit(":", 1)[1]
    key = sandbox.issue_key("ag_payer")
    sandbox.issue_key("ag_payee")
    sandbox.deposit("ag_payer", "1000")
    asyncio.run(lock(sandbox.url, key, cases_file))
    arguments = [sandbox.url, key, str(journal_file), str(cases_file)]
    for kill in range(6):
        make_faulty(sandbox)
        work(arguments, chance.randrange(ESCROWS // 2))
        if kill % 2:
            sandbox.kill()
            sandbox = SandboxProcess(database, "--port", port)
    with sandbox:
        make_faulty(sandbox)
        assert work(arguments) == 0
        statement = sandbox.statement()
    account_for(read_cases(cases_file), SqliteJournal(journal_file).records(), statement)


def account_for(cases, records, statement):
    assert statement["findings"] == []
    assert statement["balanced"]
    assert [record.key for record in records] == sorted(case.key for case in cases)
    books = {escrow["escrow_id"]: escrow for escrow in statement["escrows"]}
    paid = collections.Counter(e["escrow_id"] for e in statement["entries"] if e["role"] == "paid")
    assert len(books) == ESCROWS
    assert set(paid.values()) == {1}
    for record in records:
        assert record.phase in (Phase.SETTLED, Phase.NEEDS_REVIEW)
        if record.phase is Phase.SETTLED:
            assert books[record.escrow_id]["status"] == STATUS_OF[record.outcome]
            assert paid[record.escrow_id] == (record.outcome is Outcome.PAID)
        if record.intent is Intent.DISPUTE:
            assert not paid[record.escrow_id]
    settled = [record for record in records if record.outcome is Outcome.PAID]
    in_review = sum(1 for record in records if record.phase is Phase.NEEDS_REVIEW and paid[record.escrow_id])
    assert Usdc.parse(statement["totals"]["paid"]) == sum((r.paid for r in settled), ZERO) + Usdc(99_000 * in_review)
