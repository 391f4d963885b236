"""What `escrowctl doctor` asks of the money: what waits, is in review, is served by nobody, is nearly spent."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from runtime.contract import Env, Phase
from runtime.escrowctl.finding import Finding, Level
from runtime.escrowctl.system_checks import Deployment
from runtime.kubernetes.budget import BUDGET, Budget, budgets_path
from runtime.kubernetes.client import KubernetesApi
from runtime.kubernetes.escrow import Escrow
from runtime.kubernetes.escrow_objects import escrows_path
from runtime.kubernetes.finalizers import is_held
from runtime.kubernetes.listing import Listing
from runtime.kubernetes.shape import NAMED
from runtime.money import ZERO
from runtime.operator.jobs import jobs_path

LATE: Final = timedelta(minutes=10)
"""After so long without a payment a Job that has ended is a finding."""

HELD: Final = timedelta(minutes=2)
"""So long may an object that is deleted wait for the operator."""

REFUND_NEAR: Final = timedelta(hours=1)

MOST_LISTED: Final = 20
"""Findings of one kind; a sentence says how many more there are."""


def reviews(escrows: Sequence[Escrow], now: datetime) -> list[Finding]:
    """Accounts that wait for a person: how long, how much, and until when."""
    found = [escrow for escrow in escrows if escrow.phase is Phase.NEEDS_REVIEW]
    if not found:
        return [Finding("review", Level.OK, "no account is in review")]
    found.sort(key=lambda escrow: escrow.status.auto_release_at or datetime.max.replace(tzinfo=UTC))
    lines = [
        Finding("review", Level.ERROR if escrow.holds_money else Level.WARNING, _review(escrow, now), _explain(escrow))
        for escrow in found[:MOST_LISTED]
    ]
    if len(found) > MOST_LISTED:
        total = sum((escrow.amount for escrow in found if escrow.amount is not None), ZERO)
        words = f"{len(found)} accounts in review, {total} USDC in all; those that are refunded first are listed"
        lines.append(Finding("review", Level.ERROR, words, "kubectl purpleflea list -A --phase NeedsReview"))
    return lines


def _review(escrow: Escrow, now: datetime) -> str:
    amount = "an unknown amount" if escrow.amount is None else f"{escrow.amount} USDC"
    since = escrow.status.closed_at
    words = f"{escrow.work.kind} {escrow.work.name}: {amount}, in review"
    words += f" for {_age(now - since)}" if since else ""
    if (refund := escrow.status.auto_release_at) is None:
        return f"{words}; when the service refunds it is not known"
    return f"{words}; the service refunds it {f'in {_age(refund - now)}' if refund > now else 'now'}"


def waits(escrows: Sequence[Escrow], now: datetime) -> list[Finding]:
    """Open accounts that wait for something, late payments, and refunds that are near."""
    found: list[Finding] = []
    reasons: Counter[str] = Counter()
    example: dict[str, Escrow] = {}
    for escrow in escrows:
        if not escrow.is_open:
            continue
        for condition in escrow.status.conditions:
            if condition.status == "False":
                reasons[condition.reason] += 1
                example.setdefault(condition.reason, escrow)
        if escrow.ending and escrow.status.intent and now - escrow.ending.time > LATE:
            words = f"{escrow.work.name} ended {_age(now - escrow.ending.time)} ago and is not settled"
            found.append(Finding("late", Level.ERROR, words, _explain(escrow)))
        refund = escrow.status.auto_release_at
        if refund and refund - now < REFUND_NEAR:
            words = f"the service refunds the escrow of {escrow.work.name} in {_age(max(refund - now, timedelta(0)))}"
            found.append(Finding("refund", Level.WARNING, words, _explain(escrow)))
    for reason, count in reasons.most_common():
        level = Level.ERROR if reason == "Unauthorized" else Level.WARNING
        words = f"{count} accounts wait: {reason}"
        found.append(Finding("waiting", level, words, _explain(example[reason])))
    return _cut(found) or [Finding("waiting", Level.OK, "no account waits for anything")]


def dialects(escrows: Iterable[Escrow], operator: Deployment | None) -> list[Finding]:
    """Open accounts of another dialect than the operator speaks: it cannot settle them."""
    speaks = operator and operator.env.get(Env.API_DIALECT)
    if not speaks:
        return [Finding("dialect", Level.UNKNOWN, "the operator's manifest does not say which dialect it speaks")]
    others = [escrow for escrow in escrows if escrow.is_open and escrow.spec.dialect != speaks]
    if others:
        words = f"{len(others)} open accounts are of another dialect than the operator's, {speaks}"
        return [Finding("dialect", Level.ERROR, words, _explain(others[0]))]
    return [Finding("dialect", Level.OK, f"the operator and every open account speak {speaks}")]


def unwatched(escrows: Iterable[Escrow], served: Sequence[str]) -> list[Finding]:
    """Open accounts in namespaces that the operator does not serve: nobody pays for their work."""
    count = Counter(escrow.namespace for escrow in escrows if escrow.is_open and escrow.namespace not in served)
    command = "add the namespace to operator.watchNamespace, or give it the label of the selector again"
    return [
        Finding("unwatched", Level.ERROR, f"{open_} open accounts in {namespace}, which no operator serves", command)
        for namespace, open_ in sorted(count.items())
    ] or [Finding("unwatched", Level.OK, f"every open account is in {', '.join(served) or 'no namespace'}")]


async def budgets(api: KubernetesApi, namespaces: Sequence[str]) -> list[Finding]:
    """Budgets of which less than a tenth is left."""
    found: list[Finding] = []
    for namespace in namespaces:
        async for budget in Listing(api, budgets_path(namespace), BUDGET):
            found += [
                Finding("budget", Level.WARNING, words, f"kubectl get budget -n {namespace}")
                for words in _short(budget)
            ]
    return found or [Finding("budget", Level.OK, "no budget is nearly used")]


def _short(budget: Budget) -> list[str]:
    status = budget.status
    if status is None:
        return []
    pairs = (
        ("at one time", status.left_usdc, status.limit_usdc),
        ("of today", status.left_today_usdc, status.daily_limit_usdc),
    )
    return [
        f"{left} of {limit} USDC {what} are left in {budget.metadata.namespace}"
        for what, left, limit in pairs
        if left is not None and limit is not None and left.micro * 10 < limit.micro
    ]


async def finalizers(api: KubernetesApi, namespaces: Sequence[str], now: datetime) -> list[Finding]:
    """Objects that are being deleted and wait for an operator that does not come."""
    found: list[Finding] = []
    for namespace in namespaces:
        for kind, path in (("Job", jobs_path(namespace)), ("Escrow", escrows_path(namespace))):
            async for each in Listing(api, path, NAMED, only_metadata=True):
                since = each.metadata.deletion_timestamp
                if since and now - since > HELD and is_held(each.metadata):
                    words = f"{kind} {each.metadata.name} has waited {_age(now - since)} to be let go"
                    command = f"kubectl purpleflea explain {each.metadata.name} -n {namespace}"
                    found.append(Finding("held", Level.WARNING, words, command))
    return _cut(found) or [Finding("held", Level.OK, "nothing that is deleted is held")]


def malformed(problems: Sequence[object]) -> list[Finding]:
    """Accounts that cannot be read, and so are settled by nobody."""
    return _cut([Finding("malformed", Level.ERROR, str(problem)) for problem in problems])


def _cut(found: list[Finding]) -> list[Finding]:
    if len(found) <= MOST_LISTED:
        return found
    last = found[-1]
    more = Finding(last.check, last.level, f"and {len(found) - MOST_LISTED} more like these")
    return [*found[:MOST_LISTED], more]


def _explain(escrow: Escrow) -> str:
    return f"kubectl purpleflea explain {escrow.name} -n {escrow.namespace}"


def _age(span: timedelta) -> str:
    minutes = int(span.total_seconds() // 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
