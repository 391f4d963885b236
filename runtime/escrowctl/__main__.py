"""`python -m runtime.escrowctl`, also `kubectl purpleflea`: what people see of escrows, and decide about them.

list      every Escrow: Job, phase, amounts, outcome; with --unaccounted the escrows that have none
show      one Escrow, whole, as JSON
explain   one Escrow in words: what happened, what is known, which command goes on
resolve   end a review: try again (perhaps another way), or close it with the outcome a person found out
retry     resolve, with the intent as it stands
let-go    drop the finalizer of a Job that nobody will settle, and of its Escrow when that is being deleted;
          with --all of every one in the namespace that is being deleted
doctor    check everything that can hold up a payment, and say what mends it
run-again run a Job whose work another Job's account has: it was paid, disputed or cancelled before
fund      create the escrow for a Job manifest and print it with its annotation
approvals list what an agent asked for beyond its budget, from its pod's MCP sidecar
approve   let one such call pass
deny      refuse it
statement what every account came to in a period; see `python -m runtime.statement`

Every act on an Escrow is recorded in it with who, when and why.
"""

import argparse
import json
import sys
from datetime import UTC, datetime
from pathlib import Path

from runtime.contract import Phase
from runtime.environment import read
from runtime.errors import BadInput
from runtime.escrowctl import approving, finding
from runtime.escrowctl.accounts import NAME, Accounts
from runtime.escrowctl.completion import answer_shell
from runtime.escrowctl.doctor import Doctor
from runtime.escrowctl.funding import FundSettings, fund
from runtime.escrowctl.repeats import Repeats, words_about
from runtime.escrowctl.resolution import resolution
from runtime.escrowctl.unaccounted import unaccounted
from runtime.escrowctl.words import as_json, explain, table, unaccounted_table
from runtime.kubernetes.client import KubernetesApi
from runtime.kubernetes.command import run_for_people
from runtime.kubernetes.errors import MalformedObject
from runtime.kubernetes.escrow import Escrow
from runtime.kubernetes.escrow_objects import escrows_path
from runtime.operator.jobs import jobs_path
from runtime.payments.settings import PayerSettings, PaymentSettings
from runtime.service import Kind, NoSettings, Program, Start
from runtime.settlement.table import Intent, Outcome
from runtime.statement import command as statement

DECISIONS = ("release", "dispute", "cancel")


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    def verb(name: str, text: str, subject: str = "") -> argparse.ArgumentParser:
        added = verbs.add_parser(name, help=text, description=text)
        if subject:
            added.add_argument("name", metavar=subject.upper(), help="Escrow, Job, Job UID or escrow id")
        added.add_argument("-n", "--namespace", help="namespace; else the kubeconfig's")
        return added

    listing = verb("list", "every Escrow: Job, phase, amounts, outcome")
    listing.add_argument("-A", "--all-namespaces", action="store_true")
    listing.add_argument("--phase", choices=[phase.value for phase in Phase], help="only those in this phase")
    listing.add_argument(
        "--unaccounted",
        action="store_true",
        help="open escrows of the payer's key that no account of the cluster names",
    )
    listing.add_argument("-o", "--output", choices=["table", "json"], default="table")
    examining = verb("doctor", "check everything that can hold up a payment; exit code 0, 3 or 4 by the worst finding")
    examining.add_argument("-o", "--output", choices=["table", "json"], default="table")
    verb("show", "one Escrow, whole, as JSON", "escrow")
    verb("explain", "one Escrow in words", "escrow")
    resolving = verb("resolve", "end a review", "escrow")
    how = resolving.add_mutually_exclusive_group(required=True)
    how.add_argument("--retry", action="store_true", help="try again, with the intent as it stands")
    for decision in DECISIONS:
        how.add_argument(f"--{decision}", action="store_true", help=f"try again: {decision}")
    outcomes = [outcome.value for outcome in Outcome if outcome is not Outcome.COMPLETED]
    how.add_argument("--as", dest="outcome", choices=outcomes, help="close it: you found out how it ended")
    retrying = verb("retry", "resolve, with the intent as it stands", "escrow")
    letting = verb("let-go", "drop the finalizer of a Job that nobody will settle")
    which = letting.add_mutually_exclusive_group(required=True)
    which.add_argument("name", metavar="JOB", nargs="?", help="Escrow, Job, Job UID or escrow id")
    which.add_argument("--all", action="store_true", help="every Job and Escrow that is being deleted")
    again = verb("run-again", "run a Job whose work was run before")
    again.add_argument("name", metavar="JOB", help="the Job that is withheld")
    for act in (resolving, retrying, letting, again):
        act.add_argument("--reason", required=True, help="what you found out; it is recorded")
    for name, what in approving.VERBS.items():
        approving.add_arguments(name, verb(name, what))
    funding = verbs.add_parser("fund", help="create the escrow for a Job manifest, print it with its annotation")
    funding.add_argument("-f", "--file", type=Path, required=True)
    funding.add_argument("-n", "--namespace", help="where the Job will be, if the manifest names none; else default")
    text = "what every account came to in a period, and whether it adds up"
    statement.add_arguments(verbs.add_parser("statement", help=text, description=text))


async def _answer(args: argparse.Namespace) -> tuple[str, int]:
    """What to print, and the exit code."""
    return await _examine(args) if args.verb == "doctor" else (await _run(args), 0)


async def _run(args: argparse.Namespace) -> str:
    if args.verb == "fund":
        return (await fund(args.file, read(FundSettings), args.namespace)).removesuffix("\n")
    async with KubernetesApi(NAME) as api:
        accounts = Accounts(api, args.namespace)
        match args.verb:
            case "list":
                return await _list(accounts, args)
            case "show":
                return json.dumps(await accounts.whole(args.name), indent=2, sort_keys=True)
            case "explain":
                return await _explain(accounts, args.name)
            case "run-again":
                return await Repeats(accounts).run_again(args.name, args.reason)
            case "let-go" if args.all:
                return await _let_all_go(accounts, args.reason)
            case "let-go":
                return await _let_go(accounts, args.name, args.reason)
        return await _resolve(accounts, args)


async def _list(accounts: Accounts, args: argparse.Namespace) -> str:
    if args.unaccounted:
        async with read(PayerSettings).client() as client:
            return unaccounted_table(await unaccounted(client, accounts))
    escrows = accounts.list(everywhere=args.all_namespaces)
    wanted = [escrow async for escrow in escrows if args.phase in (None, escrow.phase)]
    if args.output == "json":
        if escrows.malformed:  # a list that lacks some is not the list
            raise BadInput("\n".join(map(str, escrows.malformed)))
        return as_json(wanted)
    return "\n".join([table(wanted), *map(str, escrows.malformed)])


async def _examine(args: argparse.Namespace) -> tuple[str, int]:
    async with KubernetesApi(NAME) as api:
        found = await Doctor(api, args.namespace or api.namespace).findings()
    return finding.as_json(found) if args.output == "json" else finding.as_table(found), finding.exit_code(found)


async def _explain(accounts: Accounts, name: str) -> str:
    repeats = Repeats(accounts)
    escrow, job = await accounts.find(name, await repeats.account_name(name)), await repeats.withheld(name)
    return explain(escrow) if job is None else f"{explain(escrow)}\n\n{words_about(job)}"


async def _resolve(accounts: Accounts, args: argparse.Namespace) -> str:
    escrow = await accounts.find(args.name)
    chosen = next((decision for decision in DECISIONS if getattr(args, decision, False)), None)
    outcome = getattr(args, "outcome", None)
    status = resolution(
        escrow,
        by=await accounts.whoami(),
        why=args.reason,
        now=datetime.now(UTC),
        intent=Intent(chosen) if chosen else None,
        outcome=Outcome(outcome) if outcome else None,
    )
    await accounts.write(escrow, status)
    return f"{escrow.name}: {status['acts'][-1]['what']}"


async def _let_go(accounts: Accounts, name: str, reason: str) -> str:
    escrow = await accounts.note(name, what="let go of the Job", reason=reason)
    job = name if escrow is None or isinstance(escrow, MalformedObject) else escrow.work.name
    held = await accounts.remove_finalizer(f"{jobs_path(accounts.namespace)}/{job}", reason)
    if escrow:
        path = f"{escrows_path(accounts.namespace)}/{escrow.name}"
        if await accounts.is_deleted(path):  # its namespace, or the definition, is being deleted
            await accounts.remove_finalizer(path, reason)
            last = _last_known(escrow)
            return f"Job {job} may go, and its Escrow, which is being deleted. The last that is known:\n{last}"
    if held:
        return f"Job {job} may go; its Escrow stays as it is"
    return f"Job {job} does not carry the settlement finalizer; nothing holds it here"


async def _let_all_go(accounts: Accounts, reason: str) -> str:
    held = await accounts.held(jobs_path(accounts.namespace))
    said = [await _let_go(accounts, name, reason) for name in held]
    for name in await accounts.held(escrows_path(accounts.namespace)):  # those whose Job is gone already
        if escrow := await accounts.note(name, what="let go of the Escrow", reason=reason):
            await accounts.remove_finalizer(f"{escrows_path(accounts.namespace)}/{name}", reason)
            said.append(f"Escrow {name} may go. The last that is known:\n{_last_known(escrow)}")
    return "\n\n".join(said) or f"nothing that is being deleted is held in namespace {accounts.namespace}"


def _last_known(escrow: Escrow | MalformedObject) -> str:
    return str(escrow) if isinstance(escrow, MalformedObject) else explain(escrow)


def run(start: Start[NoSettings]) -> int:
    """Do what the verb says; the exit code."""
    if start.arguments.verb == "statement":
        return run_for_people(statement.make(start.arguments))
    if start.arguments.verb in approving.VERBS:
        return approving.decide(start.arguments)
    said, code = run_for_people(_answer(start.arguments))
    sys.stdout.write(said + "\n")
    return code


PROGRAM = Program(
    "escrowctl",
    __doc__,
    NoSettings,
    run,
    Kind.COMMAND,
    add_arguments=_add_arguments,
    reads_too={
        "fund": FundSettings,
        "list --unaccounted": PayerSettings,
        "statement": statement.StatementSettings,
        "statement --reconcile": PaymentSettings,
    },
)


def main() -> int:
    """Run it, or complete its words for a shell that asks."""
    answer_shell(PROGRAM.parser())
    return PROGRAM.main()


if __name__ == "__main__":
    sys.exit(main())
