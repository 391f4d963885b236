"""The statement as a command: its arguments, and one run from the accounts to the last line."""

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TextIO

import msgspec

from runtime.contract import STATEMENT_CONFIG, Env, ExitCode
from runtime.environment import read, text
from runtime.errors import BadInput
from runtime.kubernetes.client import KubernetesApi
from runtime.kubernetes.errors import KubernetesError, ObjectNotFound
from runtime.kubernetes.escrow_objects import EscrowObjects
from runtime.kubernetes.shape import Shape
from runtime.payments.busy_http import unless_proxied
from runtime.payments.http import Limits
from runtime.payments.settings import PaymentSettings
from runtime.statement.archive import Archive
from runtime.statement.compute import Compute, read_compute
from runtime.statement.fly_ledger import FlyLedgers
from runtime.statement.focus import Focus
from runtime.statement.journals import Beancount, Hledger
from runtime.statement.lines import in_doubt, line_of
from runtime.statement.page import Page
from runtime.statement.period import Period, read_period
from runtime.statement.reading import Accounts
from runtime.statement.reconciliation import Reconciliation
from runtime.statement.sums import GROUPS, Statement, grouping
from runtime.statement.writing import Csv, Json, Result, Table, Writer, words

NAME: Final = "purpleflea-statement"
"""The field manager, though nothing is written."""

LIST_BYTES: Final = 64 << 20
"""Most that is read of one list of the payment service: three hundred thousand escrows."""

FORMS: Final[dict[str, Callable[[TextIO, Period, bool], Writer]]] = {
    "table": lambda out, *_: Table(out),
    "csv": lambda out, _, compute: Csv(out, compute=compute),
    "json": lambda out, _, compute: Json(out, compute=compute),
    "beancount": lambda out, period, _: Beancount(out, period),
    "hledger": lambda out, period, _: Hledger(out, period),
    "html": lambda out, period, _: Page(out, period),
    "focus": lambda out, *_: Focus(out),
}
"""By where it is written, the period, and whether compute is known."""
WHOLE: Final = ("table", "json", "html")
"""Forms that say themselves what the comparison found; for the others it goes to standard error."""
WITH_COMPUTE: Final = (*WHOLE, "csv")
"""Forms that have a place for what Jobs cost: it is no money of the escrows, so no journal has it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its arguments, also as a verb of escrowctl."""
    parser.add_argument("-n", "--namespace", action="append", help="namespace, may be repeated; else the kubeconfig's")
    parser.add_argument("-A", "--all-namespaces", action="store_true")
    parser.add_argument("--since", help="first moment, a date or a time; else the beginning")
    parser.add_argument("--until", help="the moment at which it ends, which is no longer in it; else now")
    parser.add_argument("--month", metavar="YYYY-MM", help="one month")
    parser.add_argument("--time-zone", default="UTC", help="whose days: an IANA name; UTC by default")
    parser.add_argument(
        "--by", default="namespace", help=f"{', '.join(GROUPS)}, label:KEY; several with commas between"
    )
    parser.add_argument("-o", "--output", choices=[*FORMS], default="table")
    parser.add_argument(
        "--ledger",
        metavar="FILE",
        type=Path,
        action="append",
        help="a copy of a Fly agent's ledger, may be repeated; without -n or -A nothing else is read",
    )
    parser.add_argument("--archive", metavar="URL", help="read the archived accounts, too; else PF_ARCHIVE_URL")
    parser.add_argument(
        "--opencost",
        metavar="URL",
        help="what each Job's pods cost, and its margin; else PF_OPENCOST_URL, or the stack's",
    )
    parser.add_argument(
        "--reconcile",
        action="store_true",
        help="hold the accounts against the payment service; a difference is exit code 1",
    )


@dataclass(frozen=True, kw_only=True)
class StatementSettings:
    """What a statement reads beside the cluster."""

    archive: str | None = text(
        Env.ARCHIVE_URL, "Where settled accounts were archived: `file:///folder` or `s3://bucket/folder`", default=None
    )
    open_cost: str | None = text(
        Env.OPENCOST_URL,
        "Where OpenCost answers, for the margin of each Job",
        default=None,
        unset="the stack's setting",
    )


class _ConfigMap(msgspec.Struct, frozen=True):
    data: dict[str, str] = {}


_CONFIG_MAP: Final[Shape[_ConfigMap]] = Shape.of("ConfigMap", _ConfigMap)


async def make(args: argparse.Namespace, out: TextIO = sys.stdout) -> int:
    """Write the statement; 0, or 1 where it does not add up.

    Raises:
        BadInput: A period, a grouping or a ledger that cannot be, or settings of the payment service that are wrong.
    """
    if args.ledger and args.reconcile:
        raise BadInput("--reconcile: holds the cluster's accounts against the service; leave --ledger out")
    if args.opencost and args.output not in WITH_COMPUTE:
        raise BadInput(f"--opencost: {args.output} has no place for it; there are {', '.join(WITH_COMPUTE)}")
    now = datetime.now(UTC)
    period = read_period(args.since, args.until, args.month, args.time_zone)
    statement = Statement(period, grouping(args.by), args.by)
    payments = read(PaymentSettings) if args.reconcile else None
    ledgers = FlyLedgers(args.ledger or [])
    if args.ledger and not (args.namespace or args.all_namespaces):
        writer = FORMS[args.output](out, period, False)
        _take(ledgers, statement, writer)
        return _end(args, writer, Result(statement, now))
    settings = read(StatementSettings)
    url = args.archive or settings.archive
    archive = Archive(url) if url else None
    async with KubernetesApi(NAME) as api:
        escrows = EscrowObjects(api)
        namespaces = [""] if args.all_namespaces else args.namespace or [api.namespace]
        since = None if period.since is None else period.since.astimezone(UTC).date()
        accounts = Accounts(escrows, namespaces, archive.read(namespaces, since) if archive else ())
        compute = None
        if args.output in WITH_COMPUTE and (there := args.opencost or settings.open_cost or await _stacks(api, args)):
            compute = await read_compute(there, period, now)
        writer = FORMS[args.output](out, period, compute is not None and not compute.why_not)
        _take(ledgers, statement, writer)
        if payments is None:
            result = Result(await _gather(accounts, statement, writer, None, compute), now, None, compute)
        else:
            async with payments.client(unless_proxied(), limits=Limits(body_bytes=LIST_BYTES)) as client:
                comparing = Reconciliation(client, escrows, period, whole=args.all_namespaces)
                await comparing.begin()
                statement = await _gather(accounts, statement, writer, comparing, compute)
                result = Result(statement, now, await comparing.end(), compute)
    return _end(args, writer, result)


async def _stacks(api: KubernetesApi, args: argparse.Namespace) -> str:
    """Where the stack of the first namespace says that OpenCost answers; empty where it says nothing."""
    namespace = (args.namespace or [api.namespace])[0]
    try:
        found = await api.get(f"/api/v1/namespaces/{namespace}/configmaps/{STATEMENT_CONFIG}", _CONFIG_MAP)
    except ObjectNotFound:
        return ""
    except KubernetesError as error:
        sys.stderr.write(f"no compute, no margin: where OpenCost is cannot be read: {error}\n")
        return ""
    return found.data.get(Env.OPENCOST_URL, "")


def _take(ledgers: FlyLedgers, statement: Statement, writer: Writer) -> None:
    for line in ledgers.lines(statement.period):
        statement.add(line)
        writer.line(line)
    statement.doubts += ledgers.doubts


def _end(args: argparse.Namespace, writer: Writer, result: Result) -> int:
    writer.end(result)
    if args.output not in WHOLE:
        sys.stderr.write("\n".join(words(result)) + "\n")
    return ExitCode.FAILED if result.problems else ExitCode.OK


async def _gather(
    accounts: Accounts, statement: Statement, writer: Writer, comparing: Reconciliation | None, compute: Compute | None
) -> Statement:
    """Every account, once: into the statement, into its form, and against the service."""
    async for escrow in accounts:
        line = line_of(escrow, statement.period)
        if line is not None:
            if compute is not None:
                line.compute = compute.take(escrow.work)
            statement.add(line)
            writer.line(line)
        elif in_doubt(escrow):
            amount = "an unknown amount" if escrow.amount is None else f"{escrow.amount} USDC"
            statement.doubts.append(
                f"{escrow.namespace}/{escrow.name}: a create of {amount} was sent; what it locked is not known yet"
            )
        if comparing is not None:
            await comparing.take(escrow, counts=line is not None)
    statement.flaws += accounts.flaws
    statement.notes += accounts.notes
    return statement
