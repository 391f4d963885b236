"""Agents, their API keys and the faucet."""

import hashlib
import hmac
import secrets
import sqlite3
from typing import Final

from runtime.sandbox.clock import Clock
from runtime.sandbox.database import Database
from runtime.sandbox.ledger import FAUCET, Ledger, Target, wallet
from runtime.sandbox.refused import RefusedError

CLAIM_MICROS: Final = 1_000_000
_DAY_SECONDS: Final = 24 * 60 * 60


class Agents:
    """Who exists, whose key it is, and who has had the faucet's dollar."""

    def __init__(self, database: Database, clock: Clock, ledger: Ledger) -> None:
        self._database = database
        self._clock = clock
        self._ledger = ledger

    def find(self, agent_id: str) -> sqlite3.Row | None:
        """The agent's row, or None."""
        with self._database.transaction() as connection:
            return connection.execute("SELECT * FROM agents WHERE id = ?", (agent_id,)).fetchone()

    def ensure(self, agent_id: str, *, owner_id: str | None = None, referral_code: str | None = None) -> bool:
        """Make the agent if it does not exist. Returns whether it was made."""
        with self._database.transaction() as connection:
            made = connection.execute(
                "INSERT OR IGNORE INTO agents VALUES (?, ?, ?, ?, ?)",
                (
                    agent_id,
                    owner_id or agent_id,
                    f"ref_{secrets.token_hex(4)}",
                    self.referrer(referral_code, agent_id),
                    self._clock.now(),
                ),
            )
            return made.rowcount == 1

    def register(self, agent_id: str, caller_id: str) -> bool:
        """Put an agent under the caller's key; again is no change. Returns whether it is new to the caller.

        An id that only ever stood as somebody's payee has no key yet and may be taken over; another's may not.
        """
        with self._database.transaction() as connection:
            if self.ensure(agent_id, owner_id=caller_id):
                return True
            if self.acts_for(caller_id, agent_id):
                return False
            taken = connection.execute(
                "UPDATE agents SET owner_id = ? WHERE id = ? AND owner_id = id"
                " AND NOT EXISTS (SELECT 1 FROM api_keys WHERE agent_id = agents.id)",
                (caller_id, agent_id),
            )
            if taken.rowcount == 0:
                raise RefusedError(403, "forbidden", "That agent_id belongs to another key")
            return True

    def register_new(self, referral_code: str | None) -> tuple[str, str]:
        """Make a new agent, as each casino registration does. Returns its id and its key."""
        agent_id = f"ag_{secrets.token_hex(6)}"
        with self._database.transaction():
            self.ensure(agent_id, referral_code=referral_code)
            return agent_id, self.issue_key(agent_id)

    def acts_for(self, caller_id: str | None, agent_id: str) -> bool:
        """Whether the caller's key may act as this agent."""
        if caller_id is None:
            return False
        agent = self.find(agent_id)
        return caller_id == agent_id or (agent is not None and agent["owner_id"] == caller_id)

    def referrer(self, referral_code: str | None, agent_id: str) -> str | None:
        """Whose code this is; nobody refers themselves and an unknown code is no error."""
        with self._database.transaction() as connection:
            row = connection.execute("SELECT id FROM agents WHERE referral_code = ?", (referral_code,)).fetchone()
        return row["id"] if row and row["id"] != agent_id else None

    def referrer_for(self, agent_id: str, referral_code: str | None) -> str | None:
        """Who is paid for what this agent does: the owner of the code that it gives, else whom it registered with."""
        if referral_code is not None:
            return self.referrer(referral_code, agent_id)
        agent = self.find(agent_id)
        return agent["referrer_id"] if agent else None

    # --- keys

    def issue_key(self, agent_id: str, key: str | None = None) -> str:
        """A new key for the agent (made if needed), or the given one. It is returned once and kept as a hash."""
        key = key or f"sk_sandbox_{secrets.token_hex(24)}"
        with self._database.transaction() as connection:
            self.ensure(agent_id)
            connection.execute(
                "INSERT INTO api_keys (hash, agent_id) VALUES (?, ?)"
                " ON CONFLICT (hash) DO UPDATE SET agent_id = excluded.agent_id, revoked = 0",
                (_hash(key), agent_id),
            )
        return key

    def revoke_key(self, key: str) -> bool:
        """Stop accepting a key. Returns whether it was known."""
        with self._database.transaction() as connection:
            return connection.execute("UPDATE api_keys SET revoked = 1 WHERE hash = ?", (_hash(key),)).rowcount == 1

    def authenticate(self, authorization: str | None) -> str | None:
        """The agent whose key an Authorization header carries, or None."""
        scheme, _, key = (authorization or "").partition(" ")
        if scheme != "Bearer" or not key:  # the published server knows no other spelling, and no second blank
            return None
        offered = _hash(key)
        with self._database.transaction() as connection:
            row = connection.execute("SELECT * FROM api_keys WHERE hash = ? AND revoked = 0", (offered,)).fetchone()
        return row["agent_id"] if row and hmac.compare_digest(row["hash"], offered) else None

    # --- faucet

    def claim(self, agent_id: str, ip: str, *, per_ip: bool, new_only: bool) -> str:
        """Grant the faucet's dollar once per agent id. Returns the claim's id.

        `per_ip` and `new_only` are the published server's further rules, in its order: one claim an address and
        day (429) before anything is said about the agent, and none after a deposit (403).
        """
        now = self._clock.now()
        with self._database.transaction() as connection:
            if (
                per_ip
                and connection.execute(
                    "SELECT 1 FROM claims WHERE ip = ? AND at > ?", (ip, now - _DAY_SECONDS)
                ).fetchone()
            ):
                raise RefusedError(429, "ip_rate_limited", "Already claimed from this IP today.")
            if self.find(agent_id) is None:
                raise RefusedError(404, "agent_not_found", "Register the agent first.")
            if connection.execute("SELECT 1 FROM claims WHERE agent_id = ?", (agent_id,)).fetchone():
                raise RefusedError(409, "already_claimed", "This agent has already claimed the faucet bonus.")
            if new_only and self._has_deposits(agent_id):
                raise RefusedError(403, "has_deposits", "Faucet is for new agents with no deposits.")
            claim_id = f"clm_{secrets.token_hex(8)}"
            connection.execute("INSERT INTO claims VALUES (?, ?, ?, ?)", (claim_id, agent_id, ip, now))
            self._ledger.post("claim", FAUCET, [Target(wallet(agent_id), CLAIM_MICROS, "granted")])
        return claim_id

    def claims(self) -> int:
        """How many claims were granted."""
        with self._database.transaction() as connection:
            return connection.execute("SELECT count(*) FROM claims").fetchone()[0]

    def _has_deposits(self, agent_id: str) -> bool:
        with self._database.transaction() as connection:
            row = connection.execute(
                "SELECT 1 FROM legs JOIN accounts ON accounts.id = account_id"
                " WHERE role = 'deposited' AND kind = 'wallet' AND holder = ? LIMIT 1",
                (agent_id,),
            ).fetchone()
        return row is not None


def _hash(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
