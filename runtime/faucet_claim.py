"""`python -m runtime.faucet_claim`: registers the agent, claims the faucet's dollar, writes what came of it.

The init container of an agent's pod. docs/faucet.md holds the result's schema and the exit codes, docs/environment.md
the settings.
"""

import asyncio
import json
import logging
import os
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import stamina

from runtime.contract import Env, ExitCode, MountPath
from runtime.credentials import KeySettings
from runtime.environment import choice, flag, group, number, path, text, url
from runtime.errors import BadInput, NotFound, OutcomeUnknown, Permanent, PurpleFleaError, RateLimited, Retryable
from runtime.payments import ClaimOutcome, DialectName, FaucetClaim, Operation, PaymentsClient, Retries
from runtime.redaction import redact
from runtime.service import Failure, Kind, Program, Start
from runtime.trace import tracing

SCHEMA: Final = 1
UNAVAILABLE: Final = "unavailable"
PERHAPS_GRANTED: Final = "perhaps_granted"
_ASKED: Final = "the claim was sent, and no answer is on record"
_log: Final = logging.getLogger("runtime.faucet_claim")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the environment says, checked before anything is sent."""

    agent_id: str = text(Env.AGENT_ID, "Who claims: one id a logical agent, not one a Job run")
    agent_name: str | None = text(
        Env.AGENT_NAME, "Name that the `fly` dialect's tool asks for", default=None, unset=f"`{Env.AGENT_ID}`"
    )
    faucet_url: str = url(Env.FAUCET_URL, "Where to claim")
    dialect: DialectName = choice(
        Env.API_DIALECT, "Which of the HTTP surfaces answers", DialectName, default=DialectName.KUBERNETES
    )
    allow_http: bool = flag(Env.ALLOW_HTTP, "Permits `http://` URLs; only beside a sandbox", default=False)
    key: KeySettings = group(KeySettings)
    referral_code: str | None = text(Env.REFERRAL_CODE, "Sent where the dialect has the field", default=None)
    workspace: Path = path(Env.WORKSPACE, "Where the result is written", default=Path(MountPath.WORKSPACE))
    required: bool = flag(
        Env.FAUCET_REQUIRED, "Whether the pod fails without a usable answer from the faucet", default=False
    )
    deadline_seconds: int = number(
        Env.FAUCET_DEADLINE_SECONDS, "How long the faucet is tried", least=1, most=3600, default=60
    )

    @property
    def result_file(self) -> Path:
        """Where the agent reads what came of it."""
        return self.workspace / Path(MountPath.FAUCET_RESULT).name


class Attempts:
    """The calls of one start, and whether an answer was lost among them or in a start before.

    Both calls may be repeated whatever became of the last one: what is risked is the faucet's dollar, not the agent's.
    The published faucet can credit an agent twice when it is killed between credit and record, and after a lost answer
    its refusal can mean that the dollar was granted. So the record keeps the doubt.
    """

    def __init__(self, client: PaymentsClient, settings: Settings, *, answer_lost: bool) -> None:
        self._client = client
        self._settings = settings
        self.answer_lost = answer_lost

    async def claim_once(self) -> FaucetClaim:
        """Register and claim; a refusal is an outcome.

        Raises:
            Retryable, OutcomeUnknown: No usable answer; another attempt may get one.
            NotFound: Nor will it: this is no faucet, or one that speaks another dialect.
            BadInput: The URL, the dialect or the key cannot work.
        """
        client, settings = self._client, self._settings
        try:
            if client.supports(Operation.REGISTER):
                await client.register(settings.agent_id)
            return await self._claim()
        except NotFound as error:
            hint = f"{error.message}; {Env.FAUCET_URL} or {Env.API_DIALECT} names another service"
            raise NotFound(hint, operation=error.operation, status=error.status, code=error.code) from None
        except BadInput:
            raise
        except Permanent as error:  # another agent's id, a key that is not accepted: the agent runs without the credit
            _log.warning("%s", error)
            return _refused(settings, ClaimOutcome.REFUSED, error)

    async def _claim(self) -> FaucetClaim:
        """Claim, with the doubt on record for as long as there is no answer, also if this process is killed."""
        settings, lost_before = self._settings, self.answer_lost
        self.answer_lost = True
        write(settings.result_file, record(settings, OutcomeUnknown(_ASKED), answer_lost=True))
        try:
            claim = await self._client.claim(settings.agent_id, settings.agent_name, settings.referral_code)
        except PurpleFleaError as error:
            self.answer_lost = lost_before or isinstance(error, OutcomeUnknown)
            raise
        self.answer_lost = lost_before
        return claim


async def claim(settings: Settings, *, answer_lost: bool = False) -> dict[str, Any]:
    """Claim within the deadline; the record of what came of it.

    `answer_lost` tells of an earlier start. Raises BadInput where the URL, the dialect or the key cannot work.
    """
    client = PaymentsClient(
        settings.dialect,
        settings.faucet_url,  # nothing here is sent to the escrow service
        settings.key.credentials,
        faucet_url=settings.faucet_url,
        retries=Retries(attempts=1),
        allow_http=settings.allow_http,
    )
    async with client:
        attempts = Attempts(client, settings, answer_lost=answer_lost)
        found = await _until_deadline(attempts, settings.deadline_seconds)
    return record(settings, found, answer_lost=attempts.answer_lost)


async def _until_deadline(attempts: Attempts, deadline_seconds: int) -> FaucetClaim | PurpleFleaError:
    last: PurpleFleaError = OutcomeUnknown("the faucet did not answer", operation=Operation.CLAIM)
    try:
        async with asyncio.timeout(deadline_seconds):
            async for attempt in stamina.retry_context(
                on=_worth_another_try, attempts=None, timeout=deadline_seconds, wait_max=10
            ):
                with attempt:
                    try:
                        return await attempts.claim_once()
                    except PurpleFleaError as error:
                        last = error
                        raise
    except TimeoutError:
        pass
    except (Retryable, OutcomeUnknown, NotFound) as error:
        last = error
    return last


def _worth_another_try(error: Exception) -> bool | float:
    if not isinstance(error, Retryable | OutcomeUnknown):
        return False
    _log.warning("trying again: %s", error)
    return getattr(error, "delay_seconds", None) or True


def _refused(settings: Settings, outcome: ClaimOutcome, error: PurpleFleaError) -> FaucetClaim:
    return FaucetClaim(outcome=outcome, agent_id=settings.agent_id, code=error.code, reason=error.message)


def record(settings: Settings, found: FaucetClaim | PurpleFleaError, *, answer_lost: bool) -> dict[str, Any]:
    """Return the result file's content."""
    if isinstance(found, RateLimited):  # until the deadline: the faucet's answer, and not the day's rule
        found = _refused(settings, ClaimOutcome.RATE_LIMITED, found)
    claimed = found if isinstance(found, FaucetClaim) else None
    outcome = claimed.outcome.value if claimed else UNAVAILABLE
    if answer_lost and outcome in (ClaimOutcome.ALREADY, ClaimOutcome.RATE_LIMITED):
        outcome = PERHAPS_GRANTED
    return {
        "schema": SCHEMA,
        "outcome": outcome,
        "agent_id": settings.agent_id,
        "dialect": str(settings.dialect),
        "amount_usdc": None if claimed is None or claimed.amount is None else str(claimed.amount),
        "claim_id": claimed and claimed.claim_id,
        "code": found.code,
        "reason": claimed.reason if claimed else str(found),
        "answer_lost": answer_lost,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def earlier_record(settings: Settings) -> dict[str, Any]:
    """Return what an earlier start of this pod wrote for this agent; empty without one that can be used."""
    try:
        found = json.loads(settings.result_file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    ours = isinstance(found, dict) and found.get("schema") == SCHEMA and found.get("agent_id") == settings.agent_id
    return found if ours else {}


def write(file: Path, document: dict[str, Any]) -> None:
    """Write the document so that a reader sees all of it or none, also after a power cut.

    Raises:
        Failure: It cannot be written.
    """
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with temporary.open("w", encoding="utf-8") as stream:
            stream.write(redact(json.dumps(document, indent=2)) + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(file)
        directory = os.open(file.parent, os.O_RDONLY)
        try:
            os.fsync(directory)  # the rename itself
        finally:
            os.close(directory)
    except OSError as error:
        raise Failure(f"the result could not be written: {error}") from error
    finally:
        temporary.unlink(missing_ok=True)


async def run(start: Start[Settings]) -> ExitCode:
    """Claim once for this agent. Returns the exit code that docs/faucet.md gives."""
    settings = start.settings
    earlier = earlier_record(settings)
    if earlier.get("outcome") in (ClaimOutcome.GRANTED, ClaimOutcome.ALREADY, PERHAPS_GRANTED):
        _log.info("the faucet was asked before: %s for %s", earlier["outcome"], settings.agent_id)
        return ExitCode.OK
    with tracing(agent=settings.agent_id):
        document = await claim(settings, answer_lost=earlier.get("answer_lost") is True)
        write(settings.result_file, document)
        detail = document["amount_usdc"] or document["reason"] or "no reason given"
        _log.info("%s for %s: %s; written to %s", document["outcome"], settings.agent_id, detail, settings.result_file)
    missed = document["outcome"] == UNAVAILABLE and settings.required
    return ExitCode.FAUCET_UNAVAILABLE if missed else ExitCode.OK


PROGRAM = Program(
    "python -m runtime.faucet_claim",
    "Registers the agent, claims the faucet's dollar, and writes what came of it. docs/faucet.md tells all of it.",
    Settings,
    run,
    Kind.TASK,
)

if __name__ == "__main__":
    sys.exit(PROGRAM.main())
