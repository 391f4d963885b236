"""`python -m runtime.faucet_claim`: registers the agent, claims the faucet's dollar, writes what came of it.

The init container of an agent's pod. docs/faucet.md holds its settings, the result's schema and the exit codes.
"""

import asyncio
import json
import logging
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NoReturn

import stamina

from runtime.contract import Env, ExitCode, MountPath
from runtime.errors import BadSetting, OutcomeUnknown, PurpleFleaError, Retryable
from runtime.errors import Final as FinalError
from runtime.payments import Claim, ClaimOutcome, Credentials, DialectName, Operation, PaymentsClient, Retries
from runtime.redaction import redact

SCHEMA: Final = 1
UNAVAILABLE: Final = "unavailable"
_log: Final = logging.getLogger("faucet-claim")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the environment says, checked before anything is sent."""

    agent_id: str
    agent_name: str | None
    dialect: str
    faucet_url: str
    allow_http: bool
    referral_code: str | None
    result_file: Path
    required: bool
    deadline_seconds: float

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> "Settings":
        """Read the variables that docs/faucet.md lists.

        Raises:
            BadSetting: One is missing or wrong; the message names it.
        """
        for name, why in (
            (Env.AGENT_ID, "who claims"),
            (Env.FAUCET_URL, "where to claim"),
        ):
            if not environ.get(name, "").strip():
                raise BadSetting(f"{name} is not set: {why}")
        return cls(
            agent_id=environ[Env.AGENT_ID].strip(),
            agent_name=environ.get(Env.AGENT_NAME) or None,
            dialect=environ.get(Env.API_DIALECT) or DialectName.KUBERNETES,
            faucet_url=environ[Env.FAUCET_URL],
            allow_http=_flag(environ, Env.ALLOW_HTTP),
            referral_code=environ.get(Env.REFERRAL_CODE) or None,
            result_file=Path(environ.get(Env.WORKSPACE) or MountPath.WORKSPACE) / Path(MountPath.FAUCET_RESULT).name,
            required=_flag(environ, Env.FAUCET_REQUIRED),
            deadline_seconds=_seconds(environ, Env.FAUCET_DEADLINE_SECONDS, default="60"),
        )


def _flag(environ: Mapping[str, str], name: str) -> bool:
    text = (environ.get(name) or "false").strip().lower()
    if text not in ("true", "false"):
        raise BadSetting(f"{name} is {text[:40]!r}, not true or false")
    return text == "true"


def _seconds(environ: Mapping[str, str], name: str, *, default: str) -> float:
    text = (environ.get(name) or default).strip()
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 3600):
        raise BadSetting(f"{name} is {text[:40]!r}, not a whole number of seconds from 1 to 3600")
    return float(text)


async def claim(settings: Settings, credentials: Credentials) -> Claim | PurpleFleaError:
    """Register and claim within the deadline; an error means that the faucet gave no usable answer until then.

    Both calls may be repeated whatever became of the last one: the faucet grants an agent id one claim, for ever.

    Raises:
        BadSetting: The URL, the dialect or the key cannot work.
    """
    client = PaymentsClient(
        settings.dialect,
        settings.faucet_url,  # nothing here is sent to the escrow service
        credentials,
        faucet_url=settings.faucet_url,
        retries=Retries(attempts=1),
        allow_http=settings.allow_http,
    )
    last: PurpleFleaError = OutcomeUnknown("the faucet did not answer", operation=Operation.CLAIM)
    try:
        async with client, asyncio.timeout(settings.deadline_seconds):
            async for attempt in stamina.retry_context(
                on=_worth_another_try, attempts=None, timeout=settings.deadline_seconds, wait_max=10
            ):
                with attempt:
                    try:
                        return await _claim_once(client, settings)
                    except PurpleFleaError as error:
                        last = error
                        raise
    except TimeoutError:
        pass
    except (Retryable, OutcomeUnknown) as error:
        last = error
    return last


async def _claim_once(client: PaymentsClient, settings: Settings) -> Claim:
    try:
        if client.supports(Operation.REGISTER):
            await client.register(settings.agent_id)
        return await client.claim(settings.agent_id, settings.agent_name, settings.referral_code)
    except BadSetting:
        raise
    except FinalError as error:  # another agent's id, a key that is not accepted: the agent runs without the credit
        _log.warning("%s", error)
        return Claim(outcome=ClaimOutcome.REFUSED, agent_id=settings.agent_id, code=error.code, reason=error.message)


def _worth_another_try(error: Exception) -> bool | float:
    if not isinstance(error, Retryable | OutcomeUnknown):
        return False
    _log.warning("trying again: %s", error)
    return getattr(error, "delay_seconds", None) or True


def result(settings: Settings, found: Claim | PurpleFleaError, now: datetime) -> dict[str, Any]:
    """Return the result file's content."""
    known = found if isinstance(found, Claim) else Claim(outcome=ClaimOutcome.REFUSED, agent_id=settings.agent_id)
    return {
        "schema": SCHEMA,
        "outcome": known.outcome.value if known is found else UNAVAILABLE,
        "agent_id": settings.agent_id,
        "dialect": str(settings.dialect),
        "amount_usdc": str(known.amount) if known.amount else None,
        "claim_id": known.claim_id,
        "code": found.code,
        "reason": known.reason if known is found else str(found),
        "at": now.isoformat(timespec="seconds"),
    }


def earlier_result(settings: Settings) -> dict[str, Any] | None:
    """Return what an earlier start of this pod wrote, if nothing could come of asking again."""
    try:
        found = json.loads(settings.result_file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    final = (ClaimOutcome.GRANTED, ClaimOutcome.ALREADY)
    ours = isinstance(found, dict) and found.get("schema") == SCHEMA and found.get("agent_id") == settings.agent_id
    return found if ours and found.get("outcome") in final else None


def write(path: Path, document: dict[str, Any]) -> None:
    """Write the document so that a reader sees all of it or none, also after a power cut."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(redact(json.dumps(document, indent=2)) + "\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)  # the rename itself
    finally:
        os.close(directory)


def main(environ: Mapping[str, str]) -> ExitCode:
    """Claim once for this agent. Returns the exit code that docs/faucet.md gives."""
    try:
        settings = Settings.from_environment(environ)
        if earlier := earlier_result(settings):
            _log.info("the faucet was asked before: %s for %s", earlier["outcome"], settings.agent_id)
            return ExitCode.OK
        found = asyncio.run(claim(settings, Credentials.from_environment(environ)))
        write(settings.result_file, document := result(settings, found, datetime.now(UTC)))
    except BadSetting as error:
        _log.error("%s", error)
        return ExitCode.BAD_SETTING
    except OSError as error:
        _log.error("the result could not be written: %s", error)
        return ExitCode.FAILED
    detail = document["amount_usdc"] or document["reason"] or "no reason given"
    _log.info("%s for %s: %s; written to %s", document["outcome"], settings.agent_id, detail, settings.result_file)
    missed = document["outcome"] == UNAVAILABLE and settings.required
    return ExitCode.FAUCET_UNAVAILABLE if missed else ExitCode.OK


def _interrupt(_signal: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _interrupt)  # as PID 1 there is no default action
    logging.basicConfig(level=os.environ.get(Env.LOG_LEVEL, "INFO").upper(), format="faucet-claim: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        sys.exit(main(os.environ))
    except KeyboardInterrupt:
        sys.exit(ExitCode.INTERRUPTED)
