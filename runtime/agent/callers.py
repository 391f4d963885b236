"""Escrows for callers that have no key: who asks, what they may ask for, and the outbox that does it.

The sidecar keeps the key and the rules. A caller is known by a token of its own, has escrows of its own, and may lock
for one payee only, so much at once. The row of an escrow names its caller in front of the caller's own token.
"""

import hashlib
import hmac
import re
import secrets
import sqlite3
from dataclasses import dataclass
from typing import Final

from runtime.agent.ledger import Inference, KeyTaken, Ledger, now_ms
from runtime.agent.outbox import Outbox, Refusal
from runtime.contract import FlyEnv, LedgerState
from runtime.errors import BadInput
from runtime.money import Usdc
from runtime.settlement.table import Intent

_CALLER: Final = re.compile(r"([a-z0-9][a-z0-9-]{0,62}):([\x21-\x7e]{32,200})")
_ENDS: Final = {Intent.RELEASE: LedgerState.RELEASED, Intent.CANCEL: LedgerState.CANCELLED}


class Callers:
    """Those that may ask, by the digest of their token.

    Args:
        listed: `name:token` with blanks between.

    Raises:
        BadInput: One is written wrong, or a name or token stands there twice. No token is in the text.
    """

    def __init__(self, listed: str) -> None:
        self._names: dict[bytes, str] = {}
        for number, word in enumerate(listed.split(), 1):
            if not (found := _CALLER.fullmatch(word)):
                raise BadInput(f"{FlyEnv.CALLERS}: entry {number} is not name:token with 32 characters or more")
            name, token = found.groups()
            digest = _digest(token)
            if digest in self._names or name in self._names.values():
                raise BadInput(f"{FlyEnv.CALLERS}: entry {number} repeats a name or a token")
            self._names[digest] = name
        if not self._names:
            raise BadInput(f"{FlyEnv.CALLERS} names nobody")

    def of(self, authorization: str | None) -> str:
        """Who shows this `Authorization`. Raises `Refusal`."""
        scheme, _, token = (authorization or "").partition(" ")
        digest = _digest(token.strip()) if scheme.lower() == "bearer" else b""
        found = [name for known, name in self._names.items() if hmac.compare_digest(known, digest)]
        if not found:
            raise Refusal(401, "unauthorized", "no caller has this token")
        return found[0]


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


@dataclass(frozen=True, slots=True)
class Rules:
    """What a caller may lock: for whom, how much in one escrow, and how much at a time."""

    payee: str
    most: Usdc
    most_open: Usdc


class CallersLedger(Ledger):
    """A ledger whose rows belong to callers; `rules` hold within the transaction that writes a row."""

    rules: Rules

    def may_begin(self, db: sqlite3.Connection, inference: Inference) -> None:
        """Raises `Refusal` where the caller would have too much open. What waits for a person counts as open."""
        owner = f"{caller_of(inference)}/"
        [[held]] = db.execute(
            "SELECT coalesce(sum(amount_micro), 0) FROM escrows"
            " WHERE (settled_ms IS NULL OR state = 'review') AND substr(idempotency_key, 1, ?) = ?",
            (len(owner), owner),
        )
        if held + inference.amount_micro > self.rules.most_open.micro:
            raise Refusal(403, "refused_by_rule", f"{Usdc(held)} USDC are open, of {self.rules.most_open} at a time")


def caller_of(inference: Inference) -> str:
    """Whose escrow it is."""
    return (inference.idempotency_key or "").partition("/")[0]


@dataclass(frozen=True, slots=True)
class Order:
    """What a caller wants locked; `token` is its own name for it, `fingerprint` tells another order under that name."""

    payer: str
    payee: str
    amount: Usdc
    region: str
    token: str | None

    @property
    def fingerprint(self) -> str:
        """Of all of it."""
        parts = (self.payer, self.payee, str(self.amount.micro), self.region)
        return hashlib.sha256("\0".join(parts).encode(errors="surrogatepass")).hexdigest()


class Sidecar(Outbox):
    """Locks and settles for callers. A call that is repeated is answered from the ledger."""

    ledger: CallersLedger

    def metadata(self, inference: Inference) -> dict[str, str]:
        """Whose it is, too."""
        return {**super().metadata(inference), "caller": caller_of(inference)}

    async def unworked(self, inference: Inference) -> None:
        """Its caller says what becomes of it, when it comes back."""

    async def create(self, caller: str, order: Order) -> Inference:
        """Lock it. Raises `Refusal`; one that is not 502 has locked nothing."""
        rules = self.ledger.rules
        if order.payee != rules.payee:
            raise Refusal(403, "refused_by_rule", f"only {rules.payee} may be paid")
        if not 0 < order.amount.micro <= rules.most.micro:
            raise Refusal(403, "refused_by_rule", f"an escrow may hold at most {rules.most} USDC")
        if self.stopping:
            raise Refusal(429, "stopping", "this Machine is about to stop", Retry_After="1")
        if unconfirmed := self.ledger.unconfirmed:
            raise Refusal(429, "restored", unconfirmed, Retry_After="30")
        token = f"pf-{secrets.token_hex(16)}"
        wanted = Inference(
            id=token,
            slot=self.ledger.slot,
            idempotency_key=f"{caller}/{order.token or token}",
            fingerprint=order.fingerprint,
            payer=order.payer,
            payee=order.payee,
            amount_micro=order.amount.micro,
            region=order.region,
            machine=self._machine,
            created_ms=now_ms(),
        )
        try:
            return await self.lock(wanted)
        except KeyTaken as taken:
            return _again(taken.inference, wanted)
        except Refusal as refusal:
            # A 5xx would leave the caller in doubt; here nothing was locked, and it may ask again.
            if refusal.status == 503:
                raise Refusal(429, refusal.code, str(refusal), **refusal.headers) from None
            raise

    async def end(self, caller: str, escrow_id: str, intent: Intent) -> Inference:
        """Release or cancel one of the caller's. Raises `Refusal`; 429 asks to be asked again, and loses nothing."""
        found = await self.ledger.by_escrow(escrow_id)
        if found is None or caller_of(found) != caller:
            raise Refusal(404, "not_found", "this caller has no such escrow")
        if found.intent not in (None, intent):
            raise Refusal(409, "conflict", f"the escrow is being ended by {found.intent}")
        state = found.state
        if state is LedgerState.LOCKED:
            state = await self.settle(found, intent, f"{caller} asked for it")
        if state is LedgerState.SETTLING:
            raise Refusal(429, "in_progress", "the payment service has not answered yet: ask again", Retry_After="1")
        if state is not _ENDS[intent]:
            raise Refusal(502, "payment_unknown", "how the escrow ended is not known; a person looks into it")
        ended = await self.ledger.by_id(found.id)
        assert ended is not None  # noqa: S101 - rows of escrows are never deleted
        return ended


def _again(earlier: Inference, wanted: Inference) -> Inference:
    if earlier.fingerprint != wanted.fingerprint:
        raise Refusal(409, "conflict", "this token was used for another order")
    if earlier.state is LedgerState.LOCKED:
        return earlier
    if earlier.state in (LedgerState.CREATING, LedgerState.REVIEW):
        raise Refusal(502, "payment_unknown", "whether money was locked is not known yet")
    raise Refusal(409, "conflict", f"this token's escrow is {earlier.state} already")
