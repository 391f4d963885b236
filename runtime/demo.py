"""`python -m runtime.demo`: three jobs paid for on a local Purple Flea, and a statement of every cent.

The first job is done and paid, the second fails and is disputed, the third one's answer is lost on the wire. Every
movement of money that is printed is read back from the sandbox's ledger.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import httpx

from runtime.contract import Env, ExitCode, MountPath, Phase
from runtime.errors import PurpleFleaError
from runtime.money import ZERO, Usdc
from runtime.payments import Credentials, DialectName, EscrowRequest, PaymentsClient, escrow_token
from runtime.sandbox.testing import SandboxProcess
from runtime.service import Failure, Kind, NoSettings, Program, Start
from runtime.settlement.driver import Settler, Step, intent_after
from runtime.settlement.journal import SqliteJournal
from runtime.settlement.record import Case, Settlement, resolve
from runtime.settlement.table import Intent, Outcome

BUDGET: Final = Usdc.parse("0.10")
_ROLES: Final = ("locked", "paid", "fee", "referral", "refunded")
_BOLD, _PLAIN = "\033[1m", "\033[0m"


@dataclass(frozen=True, slots=True)
class Job:
    """A piece of work: a Python program that runs as a process of its own."""

    title: str
    program: str
    loses_answer: bool = False


JOBS: Final = (
    Job("count words", "print(len('money moves once or waits for a person'.split()), 'words')"),
    Job("divide by zero", "print(1 / 0)"),
    Job("add up prices; the answer to its payment gets lost", "print(sum((199, 250, 51)), 'cents')", loses_answer=True),
)


@dataclass(frozen=True, slots=True)
class Party:
    """An agent of the sandbox and its key."""

    id: str
    key: str


class Demo:
    """One run in one dialect.

    Args:
        dialect: Which of the three surfaces the payer speaks.
        sandbox: Where.
        workspace: An empty folder for the faucet's result and the journal.
    """

    def __init__(self, dialect: DialectName, sandbox: SandboxProcess, workspace: Path) -> None:
        self._dialect = dialect
        self._sandbox = sandbox
        self._workspace = workspace
        self._journal = SqliteJournal(workspace / "settlements.db")
        self._shown = 0
        self.as_expected = True

    async def run(self) -> None:
        """Register, claim, work, pay, and show the statement."""
        payer, agent = await self._parties()
        await self._claim(agent)
        client = PaymentsClient(self._dialect, self._sandbox.url, Credentials(payer.key), allow_http=True)
        async with client:
            for number, job in enumerate(JOBS, 1):
                await self._job(client, number, job, payer, agent)
        self._journal.close()
        self._statement()

    async def _parties(self) -> tuple[Party, Party]:
        heading("1. Agents register")
        async with httpx.AsyncClient(base_url=self._sandbox.url, trust_env=False) as http:

            async def register(referral_code: str | None = None) -> dict[str, Any]:
                answer = await http.post("/api/v1/auth/register", json={"referral_code": referral_code})
                return answer.raise_for_status().json()

            referrer = await register()
            payer, worker = await register(referrer["referral_code"]), await register()
        self._sandbox.deposit(payer["agent_id"], "1.00")
        # In the Kubernetes guide an agent's id is a name of one's own, registered under one's key.
        agent_id = "agent-k8s-demo" if self._dialect is DialectName.KUBERNETES else worker["agent_id"]
        say(f"payer {payer['agent_id']}, referred by {referrer['agent_id']}; agent {agent_id}")
        self._ledger()
        return Party(payer["agent_id"], payer["api_key"]), Party(agent_id, worker["api_key"])

    async def _claim(self, agent: Party) -> None:
        heading("2. The agent claims its faucet dollar (python -m runtime.faucet_claim)")
        settings = {
            Env.AGENT_ID: agent.id,
            Env.API_KEY: agent.key,
            Env.API_DIALECT: self._dialect,
            Env.FAUCET_URL: self._sandbox.url,
            Env.ALLOW_HTTP: "true",
            Env.WORKSPACE: str(self._workspace),
        }
        await _run("-m", "runtime.faucet_claim", environment=settings)
        result = json.loads((self._workspace / Path(MountPath.FAUCET_RESULT).name).read_text())
        say(f"{result['outcome']}: {result['reason'] or 'claim ' + str(result['claim_id'])}")
        self._expect(result["outcome"] == "granted")
        self._ledger()

    async def _job(self, client: PaymentsClient, number: int, job: Job, payer: Party, agent: Party) -> None:
        heading(f"{number + 2}. Job {number}: {job.title}")
        order = EscrowRequest(
            payee=agent.id,
            amount=BUDGET,
            token=escrow_token(f"demo-{number}"),
            description=job.title,
            payer=payer.id if self._dialect is DialectName.FLY else None,
        )
        escrow = await client.create_escrow(order)
        self._ledger()
        code, printed = await _run("-c", job.program)
        say(f"the job's process: {printed.strip().splitlines()[-1]} (exit code {code})")
        intent = intent_after(client, succeeded=code == 0)
        if intent is Intent.CANCEL:
            say("this dialect has no dispute: failed work is cancelled, and the payer has its money back")
        if job.loses_answer:
            self._sandbox.fault("release", "reset", moment="after", dialect=self._dialect.value, nth=1)
        case = Case(f"demo-{number}", escrow.id, intent, f"exit code {code}", BUDGET, agent.id)
        await self._settle(client, case)
        payments = self._payments(escrow.id)
        self._expect(payments == (code == 0))
        say(f"payments for this job in the ledger: {payments}")

    async def _settle(self, client: PaymentsClient, case: Case) -> None:
        settler = Settler(client, self._journal, observe=self._show_step)
        progress = await settler.settle(case)
        while progress.retry_after_seconds is not None:
            say(f"trying again in {progress.retry_after_seconds:.0f} s")
            await asyncio.sleep(progress.retry_after_seconds)
            progress = await settler.settle(case)
        self._ledger()
        record = progress.record
        why = next(line for line in record.evidence.splitlines() if not line.startswith("attempt "))
        if record.phase is Phase.NEEDS_REVIEW:
            record = await self._review(record)
            why = record.evidence.splitlines()[-1]
        say(f"{record.phase.value}: {record.outcome} ({why})")
        self._expect(record.phase is Phase.SETTLED)

    async def _review(self, record: Settlement) -> Settlement:
        """Play the person: look the payment up where the dialect cannot, and close the settlement as that."""
        say("NeedsReview: this dialect can neither read nor list, so nothing is sent a second time. The evidence:")
        for line in (*record.evidence.splitlines(), record.remedy):
            say(f"    {line}")
        if not self._payments(record.escrow_id):
            return record
        say("you look it up in the ledger, find the payment, and resolve it:")
        why = "the ledger shows the payment"
        record = resolve(record, by="you", why=why, now=datetime.now(UTC), outcome=Outcome.PAID)
        return await self._journal.write(record)

    def _show_step(self, step: Step, record: Settlement) -> None:
        if step in (Step.SENDING, Step.ANSWERED):
            answer = record.answer
            detail = f"{answer.kind} {answer.code}".strip() if answer and step is Step.ANSWERED else record.intent
            say(f"settlement: {step}: {detail}")

    def _expect(self, condition: bool) -> None:
        self.as_expected &= condition

    # --- what the ledger says

    def _entries(self) -> list[dict[str, Any]]:
        return self._sandbox.statement()["entries"]

    def _ledger(self) -> None:
        """Print the movements that are new since the last time."""
        entries = self._entries()
        for entry in entries[self._shown :]:
            say(f"ledger: {entry['role']:<9} {entry['amount_usdc']:>8}  {entry['from']} -> {entry['to']}")
        self._shown = len(entries)

    def _payments(self, escrow_id: str) -> int:
        return sum(e["escrow_id"] == escrow_id and e["role"] == "paid" for e in self._entries())

    def _statement(self) -> None:
        heading("6. The statement, as the ledger has it (USDC)")
        statement = self._sandbox.statement()
        say(f"{'escrow':<22}" + "".join(f"{role:>10}" for role in (*_ROLES, "held")) + "  status")
        for escrow in statement["escrows"]:
            moved = dict.fromkeys(_ROLES, ZERO)
            for entry in statement["entries"]:
                if entry["escrow_id"] == escrow["escrow_id"]:
                    moved[entry["role"]] += Usdc.parse(entry["amount_usdc"])
            held = moved["locked"] - sum((moved[role] for role in _ROLES[1:]), ZERO)
            amounts = "".join(f"{amount!s:>10}" for amount in (*moved.values(), held))
            say(f"{escrow['escrow_id']:<22}{amounts}  {escrow['status']}")
        say("")
        for account in statement["accounts"]:
            say(f"{account['account']:<42}{account['balance_usdc']:>10}")
        say("")
        totals = statement["totals"]
        say(f"locked {totals['locked']} = " + " + ".join(f"{role} {totals[role]}" for role in (*_ROLES[1:], "held")))
        say("the books balance" if statement["balanced"] else f"the books do not balance: {statement['findings']}")
        self._expect(statement["balanced"])


async def _run(*arguments: str, environment: dict[Env, str] | None = None) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        env=os.environ | (environment or {}),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    printed, _ = await process.communicate()
    return process.returncode or 0, printed.decode(errors="replace")


def heading(text: str) -> None:
    """Print a step's title, bold on a terminal."""
    colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    print(f"\n{_BOLD}{text}{_PLAIN}" if colour else f"\n{text}", flush=True)


def say(text: str) -> None:
    """Print one line of a step."""
    print(f"   {text}".rstrip(), flush=True)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The demo's own arguments."""
    parser.add_argument("--dialect", choices=[d.value for d in DialectName], default="kubernetes")
    parser.add_argument("--keep", action="store_true", help="leave the sandbox and its ledger page running")


async def run(start: Start[NoSettings]) -> ExitCode:
    """Run the demo. Returns OK only if every job was paid, or not, as it should be, and the books balance."""
    chosen = start.arguments
    sandbox = SandboxProcess(detached=chosen.keep)
    keep = False
    try:
        print(f"A local Purple Flea on {sandbox.url}, spoken to in the {chosen.dialect} dialect.")
        with tempfile.TemporaryDirectory(prefix="purpleflea-demo-") as workspace:
            demo = Demo(DialectName(chosen.dialect), sandbox, Path(workspace))
            await demo.run()
        keep = chosen.keep
    except PurpleFleaError as error:
        raise Failure(f"stopped: {error}") from error
    finally:
        if not keep:
            sandbox.stop()
    if keep:
        print(f"\nThe ledger's page: {sandbox.url}/ - stop it with: kill {sandbox.process.pid}")
    return ExitCode.OK if demo.as_expected else ExitCode.FAILED


PROGRAM = Program(
    "python -m runtime.demo",
    "Pays three jobs on a local Purple Flea, and shows every movement of money.",
    NoSettings,
    run,
    Kind.COMMAND,
    add_arguments=add_arguments,
)

if __name__ == "__main__":
    sys.exit(PROGRAM.main())
