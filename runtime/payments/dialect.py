"""What a dialect is: a table of endpoints and the names of its fields. It builds requests and reads answers; no I/O."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, Final
from urllib.parse import quote

from runtime.errors import Problem, Unsupported
from runtime.money import Usdc
from runtime.payments.answer import Answer, AnswerProblem, required
from runtime.payments.model import (
    ClaimOutcome,
    DialectName,
    Escrow,
    EscrowRequest,
    EscrowStatus,
    FaucetClaim,
    Operation,
    Receipt,
    RecentLedger,
    checked_escrow_id,
)
from runtime.redaction import excerpt

JSON = "application/json"


class Service(StrEnum):
    """Which of the configured URLs an endpoint belongs to."""

    ESCROW = "escrow"
    FAUCET = "faucet"
    CASINO = "casino"
    """Keeps every agent's account in the `server` dialect."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One line of the dialect's table; `{id}` in the path is the escrow's."""

    method: str
    path: str
    service: Service = Service.ESCROW
    authenticated: bool = True
    """Whether the key is sent; where the service does not ask for it, it is not shown."""
    accept: str = JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is to be sent; the client adds the service's URL and the key."""

    operation: Operation
    endpoint: Endpoint
    escrow_id: str | None = None
    body: Mapping[str, Any] | None = None
    query: Mapping[str, str] = field(default_factory=dict)

    @property
    def path(self) -> str:
        """The endpoint's path with the escrow's id in its place."""
        return self.endpoint.path.replace("{id}", quote(self.escrow_id or "", safe=""))


@dataclass(frozen=True, slots=True, kw_only=True)
class Fields:
    """What this dialect calls things in an escrow; the empty name where it has none."""

    amount: str
    payee: str
    payer: str = ""
    mark: str = "description"
    """Where the token of a create comes back."""


_CREDITED: Final = ("credited", "amount", "amount_usdc")
"""Fields of a faucet's answer that name what it credited, first come first."""
_AFTER: Mapping[Operation, EscrowStatus] = {
    Operation.COMPLETE: EscrowStatus.COMPLETED,
    Operation.RELEASE: EscrowStatus.RELEASED,
    Operation.DISPUTE: EscrowStatus.DISPUTED,
    Operation.CANCEL: EscrowStatus.CANCELLED,
}


class Dialect:
    """One of Purple Flea's HTTP surfaces. Subclasses fill the tables and build the bodies that differ."""

    name: ClassVar[DialectName]
    endpoints: ClassVar[Mapping[Operation, Endpoint]]
    fields: ClassVar[Fields]
    list_words: ClassVar[Mapping[EscrowStatus, str]] = {}
    """The words that the list takes in its query, in the order in which an escrow moves through them."""
    page_size: ClassVar[int | None] = None
    """Entries asked for at once; None where the list knows no pages."""
    repeat_pays_once: ClassVar[bool] = False
    """Whether a release that may have paid can be sent again: the service keys its credit by the escrow."""
    refuses: ClassVar[tuple[str, ...]] = ()
    """Fields of an `EscrowRequest` that would be lost here although they change where the money goes, or when."""

    # --- requests

    def request(self, operation: Operation, escrow_id: str | None = None, **parts: Any) -> Request:
        """Build a request.

        Raises:
            Unsupported: The dialect has no such operation.
            BadInput: The id cannot stand in a path.
        """
        endpoint = self.endpoints.get(operation)
        if endpoint is None:
            raise Unsupported(
                f"the {self.name} dialect has no {operation}; it has {', '.join(self.endpoints)}",
                operation=operation,
                escrow_id=escrow_id,
            )
        if escrow_id is not None:
            checked_escrow_id(escrow_id, operation)
        return Request(operation=operation, endpoint=endpoint, escrow_id=escrow_id, **parts)

    def create(self, order: EscrowRequest) -> Request:
        """Build the create. The token goes where the service gives it back."""
        for name in self.refuses:
            if getattr(order, name) is not None:
                raise Unsupported(f"the {self.name} dialect has no {name}", operation=Operation.CREATE)
        return self.request(Operation.CREATE, body=self.create_body(order))

    def create_body(self, order: EscrowRequest) -> Mapping[str, Any]:
        """Return the body of a create."""
        raise NotImplementedError

    def act(self, operation: Operation, escrow_id: str, reason: str | None = None) -> Request:
        """Build a complete, release, dispute or cancel; the reason is for a dispute."""
        body = {"reason": excerpt(reason, 500)} if operation is Operation.DISPUTE and reason else None
        return self.request(operation, escrow_id, body=body)

    def list_page(self, status: EscrowStatus, offset: int = 0) -> Request:
        """Build the request for one page of the escrows in a status."""
        word = self.list_words.get(status)
        if Operation.LIST in self.endpoints and word is None:
            raise Unsupported(f"the {self.name} dialect lists no {status} escrows", operation=Operation.LIST)
        query = {"status": word or ""}
        if self.page_size:
            query |= {"limit": str(self.page_size), "offset": str(offset)}
        return self.request(Operation.LIST, query=query)

    def claim(self, agent_id: str, name: str | None = None, referral_code: str | None = None) -> Request:
        """Build the faucet claim."""
        return self.request(Operation.CLAIM, body={"agent_id": agent_id})

    # --- answers

    def escrow(self, answer: Answer, status: EscrowStatus | None = None) -> Escrow:
        """Read one escrow; `status` is what it must be in where the answer does not say."""
        names = self.fields
        return Escrow(
            id=required(answer.escrow_id(), "escrow_id"),
            status=required(answer.status() or status, "status"),
            amount=answer.amount(names.amount),
            fee=answer.amount("commission_usd"),
            payee=answer.text(names.payee),
            payer=answer.text(names.payer),
            created_at=answer.instant("created_at"),
            auto_release_at=answer.instant("auto_release_at"),
            token=answer.token(names.mark),
            server_time=answer.server_time,
        )

    def read_created(self, answer: Answer, order: EscrowRequest) -> Escrow:
        """Read the answer to a create: an escrow of exactly this amount, for exactly this payee."""
        escrow = self.escrow(answer, EscrowStatus.LOCKED)
        try:
            if escrow.status is not EscrowStatus.LOCKED:
                raise AnswerProblem(Problem.UNKNOWN_STATUS, f"a new escrow is {escrow.status}, not locked")
            if escrow.token not in (None, order.token):
                raise AnswerProblem(Problem.WRONG_ESCROW, f"the answer is for {escrow.token}, not {order.token}")
            check_amount(escrow.amount, order.amount)
            check_party(escrow.payee, order.payee)
            if escrow.fee is not None and abs(escrow.fee.micro - order.amount.fee().micro) > 1:
                raise AnswerProblem(Problem.WRONG_AMOUNT, f"a fee of {escrow.fee}, not {order.amount.fee()} USDC")
        except AnswerProblem as problem:
            problem.escrow_id = escrow.id  # money is locked there: a person must be able to find it
            raise
        return escrow

    def read_one(self, answer: Answer, escrow_id: str) -> Escrow:
        """Read the answer to a read."""
        escrow = self.escrow(answer)
        check_escrow(escrow.id, escrow_id)
        return escrow

    def read_page(
        self, answer: Answer, status: EscrowStatus, among: Collection[str] | None = None
    ) -> list[tuple[str, Escrow | None]]:
        """Read one page of a list: ids with their escrows, or without where `among` does not have the id."""
        page: list[tuple[str, Escrow | None]] = []
        for entry in answer.entries("escrows", among):
            escrow_id = required(entry.escrow_id(), "escrow_id")
            page.append((escrow_id, self.escrow(entry, status) if among is None or escrow_id in among else None))
        return page

    def read_escrows(self, answer: Answer, status: EscrowStatus) -> Iterator[Escrow]:
        """Read one page of a list, one escrow after the other."""
        return (self.escrow(entry, status) for entry in answer.entries("escrows"))

    def read_ledger(self, answer: Answer) -> RecentLedger:
        """Read the payer's account, where the dialect shows it."""
        raise NotImplementedError

    def read_receipt(
        self, answer: Answer, request: Request, locked: Usdc | None = None, payee: str | None = None
    ) -> Receipt:
        """Read the answer to an act. It must name the escrow, its status or the amount, and contradict nothing."""
        paid = answer.amount("amount_released")
        status = answer.status()
        escrow_id = answer.escrow_id()
        if paid is None and status is None and escrow_id is None:
            raise AnswerProblem(Problem.MISSING_FIELD, "the answer names neither escrow nor status nor amount")
        after = _AFTER[request.operation]
        if status not in (None, after):
            raise AnswerProblem(Problem.UNEXPECTED_STATUS, f"the escrow is {status} now, not {after}")
        check_escrow(escrow_id, request.escrow_id)
        check_party(answer.text(self.fields.payee), payee)
        if locked is not None and paid is not None and paid != locked and abs(paid.micro - locked.net().micro) > 1:
            raise AnswerProblem(Problem.WRONG_AMOUNT, f"{paid} USDC released of {locked} USDC locked")
        return Receipt(
            operation=request.operation,
            escrow_id=request.escrow_id or "",
            status=after,
            amount=paid,
            fee=answer.amount("commission"),
            referral=answer.amount("referral_commission"),
            payee=answer.text(self.fields.payee),
        )

    def read_claim(self, answer: Answer, agent_id: str) -> FaucetClaim:
        """Read the answer to a granted claim. An amount that the service does not name stays unknown."""
        if answer.text("agent_id") not in (None, agent_id):
            raise AnswerProblem(Problem.WRONG_PARTY, "the claim is another agent's")
        return FaucetClaim(
            outcome=ClaimOutcome.GRANTED,
            agent_id=agent_id,
            amount=next((found for found in map(answer.amount, _CREDITED) if found is not None), None),
            claim_id=answer.text("claim_id"),
        )


def check_escrow(found: str | None, expected: str | None) -> None:
    """Refuse an answer about another escrow."""
    if found is not None and found != expected:
        raise AnswerProblem(Problem.WRONG_ESCROW, f"the answer is about escrow {found}")


def check_amount(found: Usdc | None, expected: Usdc | None) -> None:
    """Refuse an answer with another amount."""
    if found is not None and expected is not None and found != expected:
        raise AnswerProblem(Problem.WRONG_AMOUNT, f"{found} USDC, not {expected}")


def check_party(found: str | None, expected: str | None) -> None:
    """Refuse an answer that names another payee."""
    if found is not None and expected is not None and found != expected:
        raise AnswerProblem(Problem.WRONG_PARTY, f"the payee is {found}, not {expected}")
