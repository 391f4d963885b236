"""The payments client: every operation by name, each answer checked, each failure of a class that is the policy."""

import asyncio
import hashlib
import os
import ssl
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Final, Self, TypeVar

from runtime.credentials import Credentials
from runtime.environment import read
from runtime.errors import (
    BadInput,
    Conflict,
    Contradiction,
    NotFound,
    OutcomeUnknown,
    Problem,
    PurpleFleaError,
    RateLimited,
    Rejected,
    Unsupported,
)
from runtime.money import Usdc
from runtime.payments.answer import Answer, AnswerProblem, required
from runtime.payments.dialect import Dialect, Request, Service
from runtime.payments.fly import FlyDialect
from runtime.payments.http import Limits, MakeHttp, Timeouts
from runtime.payments.kubernetes import KubernetesDialect
from runtime.payments.model import (
    CLAIMED_TODAY,
    UNKNOWN_AGENT,
    ClaimOutcome,
    DialectName,
    Escrow,
    EscrowRequest,
    EscrowStatus,
    FaucetClaim,
    Health,
    Operation,
    Receipt,
    RecentLedger,
    Stats,
)
from runtime.payments.retry import Retries
from runtime.payments.server import ServerDialect
from runtime.payments.transport import Transport

DIALECTS: Final[Mapping[DialectName, Dialect]] = {
    d.name: d for d in (KubernetesDialect(), FlyDialect(), ServerDialect())
}
MOST_PAGES: Final = 100
T = TypeVar("T")


class PaymentsClient:
    """One for the process; `async with` it, or `close` it.

    Args:
        dialect: Which surface the service has.
        escrow_url: Base URL of the escrow service.
        credentials: Where the key comes from.
        faucet_url: Base URL of the faucet; needed for register and claim only.
        casino_url: Base URL of the service that keeps the payer's account; with it a lost create is found in `server`.
        timeouts: See `Timeouts`.
        limits: See `Limits`.
        retries: See `Retries`.
        tls: An own trust store instead of the public one.
        allow_http: Only beside a sandbox.
        http: What to send with instead of httpx; `BusyHttp` for many requests at once.

    Raises:
        BadInput: A URL, a proxy or a certificate file of the environment that cannot work.

    Every method raises what `runtime.errors` draws; `Unsupported` where the dialect lacks the operation.
    """

    def __init__(
        self,
        dialect: DialectName | str,
        escrow_url: str,
        credentials: Credentials,
        *,
        faucet_url: str | None = None,
        casino_url: str | None = None,
        timeouts: Timeouts | None = None,
        limits: Limits | None = None,
        retries: Retries | None = None,
        tls: ssl.SSLContext | None = None,
        allow_http: bool = False,
        http: MakeHttp | None = None,
    ) -> None:
        if dialect not in DIALECTS:
            raise BadInput(f"{dialect!r} is no dialect; there are {', '.join(DIALECTS)}")
        self.dialect = DIALECTS[DialectName(dialect)]
        self._credentials = credentials
        self._retries = retries or Retries()
        given = {Service.ESCROW: escrow_url, Service.FAUCET: faucet_url, Service.CASINO: casino_url}
        urls = {service: url for service, url in given.items() if url}
        self._transport = Transport(
            urls, credentials, timeouts or Timeouts(), limits or Limits(), tls=tls, allow_http=allow_http, http=http
        )

    @classmethod
    def from_environment(
        cls, environ: Mapping[str, str] = os.environ, http: MakeHttp | None = None
    ) -> "PaymentsClient":
        """Build it from the variables that `runtime.payments.settings.PaymentSettings` declares.

        Raises:
            BadInput: One is missing or wrong; all of them are named.
        """
        from runtime.payments.settings import PaymentSettings  # which build this

        return read(PaymentSettings, environ).client(http)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection."""
        await self._transport.close()

    def now(self) -> datetime:
        """The time by the service's own clock, as far as it has told (`Date`); else by ours."""
        return datetime.now(UTC) + (self.clock_ahead or timedelta(0))

    @property
    def clock_ahead(self) -> timedelta | None:
        """How far the service's clock is ahead of ours; None before it told."""
        return self._transport.ahead

    @property
    def answered_at(self) -> datetime | None:
        """When the service last answered, whatever it said; None before it did."""
        return self._transport.answered_at

    async def ask_time(self) -> None:
        """Have the service tell its time, unless it has told; nothing comes of it where it does not answer."""
        if self.clock_ahead is not None:
            return
        with suppress(PurpleFleaError):
            if self.supports(Operation.HEALTH):
                await self._transport.exchange(self.dialect.request(Operation.HEALTH))
            elif self.supports(Operation.LIST):
                await self._transport.exchange(self.dialect.list_page(EscrowStatus.LOCKED))

    @property
    def sender(self) -> str:
        """Digest of the key: tells whether something was sent with another one. Raises `Unauthorized`."""
        return hashlib.sha256(b"sender\0" + self._credentials.key().encode()).hexdigest()[:16]

    def supports(self, operation: Operation) -> bool:
        """Whether the dialect names the operation. The `server` dialect's list may still prove to be missing."""
        return operation in self.dialect.endpoints

    # --- escrow

    async def create_escrow(self, order: EscrowRequest) -> Escrow:
        """Lock the money. Sent once; `create_once` also copes with a lost answer."""
        return await self._call(self.dialect.create(order), lambda answer: self.dialect.read_created(answer, order))

    async def read_escrow(self, escrow_id: str) -> Escrow:
        """Read one escrow."""
        request = self.dialect.request(Operation.READ, escrow_id)
        return await self._call(request, lambda answer: self.dialect.read_one(answer, escrow_id))

    async def list_escrows(
        self, status: EscrowStatus = EscrowStatus.LOCKED, among: Collection[str] | None = None
    ) -> AsyncIterator[Escrow]:
        """Yield the key's escrows in a status; of those ids only, which of a long list costs a tenth.

        All pages are read before the first escrow comes out: whoever releases while paging shifts what the next offset
        means, and would skip some.
        """
        found = await self._listed(status, lambda answer: self.dialect.read_page(answer, status, among))
        for escrow_id in [*found]:
            escrow = found.pop(escrow_id)
            if escrow is not None and escrow.status is status:
                yield escrow

    async def fold_escrows(self, fold: Callable[[Escrow], None], status: EscrowStatus = EscrowStatus.LOCKED) -> None:
        """Give each escrow of the list to `fold` and keep its id alone: a hundred thousand take a tenth of the memory.

        Raises:
            Contradiction: Also where an escrow stands in the list twice: it changed while it was read, and what slid
                over the edge of a page is missing. What was folded counts for nothing then.
        """

        def ids(answer: Answer) -> list[tuple[str, None]]:
            page: list[tuple[str, None]] = []
            for escrow in self.dialect.read_escrows(answer, status):
                page.append((escrow.id, None))
                if escrow.status is status:
                    fold(escrow)
            return page

        await self._listed(status, ids, exact=True)

    async def _listed(
        self, status: EscrowStatus, read: Callable[[Answer], list[tuple[str, T]]], *, exact: bool = False
    ) -> dict[str, T]:
        found: dict[str, T] = {}
        for _ in range(MOST_PAGES):
            page = await self._page(status, len(found), read, aside=exact)
            news = {escrow_id: kept for escrow_id, kept in page if escrow_id not in found}
            found |= news
            if exact and len(news) < len(page) and (news or self.dialect.page_size is None):
                raise Contradiction("the list has an escrow twice", operation=Operation.LIST, problem=Problem.DUPLICATE)
            # A short page proves no end, because a service may allow fewer entries than we ask for. An empty one does.
            if self.dialect.page_size is None or not page or (not news and len(page) < self.dialect.page_size):
                return found
            if not news:
                raise Contradiction("the list gives the same page again, so it may have more", operation=Operation.LIST)
        raise Contradiction(f"the list has more than {MOST_PAGES} pages", operation=Operation.LIST)

    async def _page(
        self, status: EscrowStatus, offset: int, read: Callable[[Answer], list[tuple[str, T]]], *, aside: bool
    ) -> list[tuple[str, T]]:
        try:
            return await self._call(self.dialect.list_page(status, offset), read, aside=aside)
        except NotFound as error:
            # The published server lacks the list that its docs name. That is not an empty list.
            raise Unsupported(
                "this server has no list of escrows", operation=Operation.LIST, status=error.status
            ) from None

    async def read_ledger(self) -> RecentLedger:
        """Read the newest entries of the payer's account.

        Raises:
            Unsupported: The dialect, or the service that is there, has none; or no URL of it is set.
        """
        try:
            return await self._call(self.dialect.request(Operation.LEDGER), self.dialect.read_ledger)
        except (BadInput, NotFound) as error:
            raise Unsupported(f"no ledger of the payer: {error.message}", operation=Operation.LEDGER) from None

    async def complete(self, escrow_id: str) -> Receipt:
        """Say, as the payee, that the work is done."""
        return await self._act(Operation.COMPLETE, escrow_id)

    async def release(self, escrow_id: str, locked: Usdc | None = None, payee: str | None = None) -> Receipt:
        """Pay the payee. `locked` and `payee` are held against the answer."""
        return await self._act(Operation.RELEASE, escrow_id, locked=locked, payee=payee)

    async def dispute(self, escrow_id: str, reason: str) -> Receipt:
        """Have the money held until Purple Flea has decided."""
        return await self._act(Operation.DISPUTE, escrow_id, reason=reason)

    async def cancel(self, escrow_id: str) -> Receipt:
        """Give the money back to the payer."""
        return await self._act(Operation.CANCEL, escrow_id)

    async def _act(
        self,
        operation: Operation,
        escrow_id: str,
        *,
        reason: str | None = None,
        locked: Usdc | None = None,
        payee: str | None = None,
    ) -> Receipt:
        request = self.dialect.act(operation, escrow_id, reason)
        return await self._call(request, lambda answer: self.dialect.read_receipt(answer, request, locked, payee))

    # --- the service and the faucet

    async def stats(self) -> Stats:
        """Read the service's public totals."""
        return await self._call(self.dialect.request(Operation.STATS), _read_stats)

    async def health(self) -> Health:
        """Ask whether the service answers."""
        return await self._call(
            self.dialect.request(Operation.HEALTH), lambda answer: Health(region=answer.text("region"))
        )

    async def register(self, agent_id: str) -> None:
        """Register an agent; registering it again changes nothing."""
        request = self.dialect.request(Operation.REGISTER, body={"agent_id": agent_id})

        def read(answer: Answer) -> None:
            if answer.text("agent_id") not in (None, agent_id):
                raise AnswerProblem(Problem.WRONG_PARTY, "the answer is about another agent")

        await self._call(request, read)

    async def claim(self, agent_id: str, name: str | None = None, referral_code: str | None = None) -> FaucetClaim:
        """FaucetClaim the faucet's dollar. The faucet's own refusals are outcomes.

        Raises:
            RateLimited: It counts requests and refused this one unread; the one claim a day is an outcome.
            NotFound: There is no faucet at this URL, or it speaks another dialect. An unknown agent is an outcome.
            PurpleFleaError: Silence, confusion, or a key that is not accepted.
        """
        request = self.dialect.claim(agent_id, name, referral_code)
        try:
            claim = await self._call(request, lambda answer: self.dialect.read_claim(answer, agent_id))
        except Conflict as error:
            return _refused(ClaimOutcome.ALREADY, agent_id, error)
        except RateLimited as error:
            if error.code != CLAIMED_TODAY:
                raise
            return _refused(ClaimOutcome.RATE_LIMITED, agent_id, error)
        except NotFound as error:
            if error.code != UNKNOWN_AGENT:
                raise
            return _refused(ClaimOutcome.REFUSED, agent_id, error)
        except Rejected as error:
            return _refused(ClaimOutcome.REFUSED, agent_id, error)
        if claim.outcome is ClaimOutcome.RATE_LIMITED and claim.code != CLAIMED_TODAY:  # a tool's failure
            raise RateLimited(claim.reason or "too many requests", operation=Operation.CLAIM, code=claim.code)
        return claim

    # --- one call

    async def _call(self, request: Request, read: Callable[[Answer], T], *, aside: bool = False) -> T:
        return await self._retries.run(lambda: self._once(request, read, aside=aside))

    async def _once(self, request: Request, read: Callable[[Answer], T], *, aside: bool) -> T:
        """With `aside` it is read in a thread: a hundred thousand entries take seconds, in which others are served."""
        answer = await self._transport.exchange(request)
        try:
            return await asyncio.to_thread(read, answer) if aside else read(answer)
        except AnswerProblem as error:
            kind = Contradiction if request.operation.repeatable else OutcomeUnknown
            raise kind(
                error.message,
                operation=request.operation,
                escrow_id=request.escrow_id or error.escrow_id,
                request_id=answer.request_id,
                problem=error.problem,
            ) from None


def _read_stats(answer: Answer) -> Stats:
    return Stats(
        created=answer.count("total_created"),
        released=answer.count("total_released"),
        disputed=answer.count("total_disputed"),
        volume=required(answer.amount("total_volume_usd"), "total_volume_usd"),
        fees=required(answer.amount("total_commission_usd"), "total_commission_usd"),
    )


def _refused(outcome: ClaimOutcome, agent_id: str, error: PurpleFleaError) -> FaucetClaim:
    return FaucetClaim(
        outcome=outcome,
        agent_id=agent_id,
        code=error.code,
        reason=error.message,
        retry_after_seconds=error.delay_seconds if isinstance(error, RateLimited) else None,
    )
