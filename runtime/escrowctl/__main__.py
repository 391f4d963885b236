"""`python -m runtime.escrowctl`, also `kubectl purpleflea`: what people see of escrows, and decide about them.

list      every Escrow: Job, phase, amounts, outcome
show      one Escrow, whole, as JSON
explain   one Escrow in words: what happened, what is known, which command goes on
resolve   end a review: try again (perhaps another way), or close it with the outcome a person found out
retry     resolve, with the intent as it stands
let-go    drop the finalizer of a Job that nobody will settle, and of its Escrow when that is being deleted;
          with --all of every one in the namespace that is being deleted
fund      create the escrow for a Job manifest and print it with its annotation

Every act is recorded in the Escrow with who, when and why.
"""

import argparse
import asyncio
import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import httpx2
import yaml
from lightkube.core.exceptions import ApiError, ConfigError
from lightkube.resources.batch_v1 import Job

from runtime.contract import ExitCode
from runtime.errors import PurpleFleaError
from runtime.escrowctl.accounts import Accounts, Escrow, Mistake
from runtime.escrowctl.funding import fund
from runtime.escrowctl.resolution import resolution
from runtime.escrowctl.words import explain, table
from runtime.settlement.table import Intent, Outcome

DECISIONS = ("release", "dispute", "cancel")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="escrowctl", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    def verb(name: str, text: str, subject: str = "") -> argparse.ArgumentParser:
        added = verbs.add_parser(name, help=text, description=text)
        if subject:
            added.add_argument("name", metavar=subject.upper(), help="Escrow, Job, Job UID or escrow id")
        added.add_argument("-n", "--namespace", help="namespace; else the kubeconfig's")
        return added

    listing = verb("list", "every Escrow: Job, phase, amounts, outcome")
    listing.add_argument("-A", "--all-namespaces", action="store_true")
    listing.add_argument("--phase", help="only those in this phase")
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
    for act in (resolving, retrying, letting):
        act.add_argument("--reason", required=True, help="what you found out; it is recorded")
    funding = verbs.add_parser("fund", help="create the escrow for a Job manifest, print it with its annotation")
    funding.add_argument("-f", "--file", type=Path, required=True)
    return parser


def _run(args: argparse.Namespace) -> str:
    if args.verb == "fund":
        return yaml.safe_dump(asyncio.run(fund(args.file)), sort_keys=False).rstrip()
    accounts = Accounts(args.namespace)
    match args.verb:
        case "list":
            escrows = accounts.list(everywhere=args.all_namespaces)
            return table(e for e in escrows if args.phase in (None, (e.get("status") or {}).get("phase", "Pending")))
        case "show":
            return json.dumps(accounts.find(args.name), indent=2, sort_keys=True)
        case "explain":
            return explain(accounts.find(args.name))
        case "let-go":
            return _let_all_go(accounts, args.reason) if args.all else _let_go(accounts, args.name, args.reason)
    return _resolve(accounts, args)


def _resolve(accounts: Accounts, args: argparse.Namespace) -> str:
    escrow = accounts.find(args.name)
    chosen = next((decision for decision in DECISIONS if getattr(args, decision, False)), None)
    outcome = getattr(args, "outcome", None)
    status = resolution(
        escrow,
        by=accounts.whoami(),
        why=args.reason,
        now=datetime.now(UTC),
        intent=Intent(chosen) if chosen else None,
        outcome=Outcome(outcome) if outcome else None,
    )
    accounts.write(escrow, status)
    return f"{escrow['metadata']['name']}: {status['acts'][-1]['what']}"


def _let_go(accounts: Accounts, name: str, reason: str) -> str:
    escrow = accounts.note(name, what="let go of the Job", reason=reason)
    job = escrow["spec"]["job"]["name"] if escrow else name
    held = accounts.drop_finalizer(Job, job, reason)
    if escrow and "deletionTimestamp" in escrow["metadata"]:  # its namespace, or the definition, is being deleted
        accounts.drop_finalizer(Escrow, escrow["metadata"]["name"], reason)
        return f"Job {job} may go, and its Escrow, which is being deleted. The last that is known:\n{explain(escrow)}"
    if held:
        return f"Job {job} may go; its Escrow stays as it is"
    return f"Job {job} does not carry the settlement finalizer; nothing holds it here"


def _let_all_go(accounts: Accounts, reason: str) -> str:
    said = [_let_go(accounts, name, reason) for name in accounts.held(Job)]
    for name in accounts.held(Escrow):  # those whose Job is gone already
        if escrow := accounts.note(name, what="let go of the Escrow", reason=reason):
            accounts.drop_finalizer(Escrow, name, reason)
            said.append(f"Escrow {name} may go. The last that is known:\n{explain(escrow)}")
    return "\n\n".join(said) or f"nothing that is being deleted is held in namespace {accounts.namespace}"


def main() -> int:
    """Exit code 0, or 2 with one line that says what was wrong and what to do."""
    try:
        sys.stdout.write(_run(_parser().parse_args()) + "\n")
    except (Mistake, PurpleFleaError, ConfigError) as error:
        sys.stderr.write(f"escrowctl: {error}\n")
        return ExitCode.BAD_SETTING
    except ApiError as error:
        sys.stderr.write(f"escrowctl: the API server refused: {error.status.message}\n")
        return ExitCode.BAD_SETTING
    except httpx2.TransportError as error:  # what lightkube lets through
        sys.stderr.write(f"escrowctl: the API server cannot be reached: {error}\n")
        return ExitCode.FAILED
    return ExitCode.OK


if __name__ == "__main__":
    sys.exit(main())
