"""What a stack's objects cost: which work is paid for, and the most that may be locked at one time."""

import json
import re
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from components.manifests.naming import Manifest
from components.settings import usdc_text
from runtime.contract import ESCROW_ID_ANNOTATION, ESCROW_REQUEST_ANNOTATION, WORK_ID_ANNOTATION

_USDC = re.compile(r"[0-9]{1,15}(\.[0-9]{1,6})?")


@dataclass(frozen=True, slots=True)
class Exposure:
    """The most USDC that may be locked at one time, fees included; None where it is not known, and `why` says so."""

    total: Decimal | None
    play_money: bool | None = None
    """Whether a sandbox takes the payment service's place."""
    whole_balance: tuple[str, ...] = ()
    """Whose own container holds the payer's key, so that no number bounds it."""
    arithmetic: str = ""
    why: str = ""

    @classmethod
    def unknown(cls, why: str) -> "Exposure":
        """Nobody can tell, which is not nothing."""
        return cls(None, why=why)

    @classmethod
    def read(cls, agent_config: Any) -> "Exposure":
        """What an `agent-config.json`, or the stack's output `agentConfig`, says."""
        config = agent_config if isinstance(agent_config, dict) else {}
        most = config.get("maximumExposure")
        if not isinstance(most, dict):
            return cls.unknown("the agent configuration has no maximumExposure")
        total, holders, play = usdc(most.get("totalUsdc")), most.get("wholeBalance"), config.get("sandbox")
        if total is None or not isinstance(holders, list):
            return cls.unknown("maximumExposure has no totalUsdc and wholeBalance that can be read")
        sandbox = play if isinstance(play, bool) else None
        return cls(total, sandbox, tuple(map(str, holders)), str(most.get("arithmetic", "")))

    def __str__(self) -> str:
        return "unknown" if self.total is None else usdc_text(self.total)

    @property
    def kind(self) -> str:
        """Whose money it is, in words."""
        return {True: "play money", False: "real money", None: "unknown whether play money"}[self.play_money]


def above(exposure: Exposure, cap: Decimal) -> str | None:
    """Why a stack may lock more than `cap` USDC; None where it may not. What is not known is above any cap."""
    if exposure.total is None:
        return f"the maximum exposure is unknown ({exposure.why}), so it may be above the cap of {usdc_text(cap)} USDC"
    if exposure.whole_balance:
        who = ", ".join(exposure.whole_balance)
        return f"{who}: holds the payer's key, so the whole balance may go, whatever the cap of {usdc_text(cap)} USDC"
    if exposure.total > cap:
        return f"the maximum exposure is {exposure} USDC, above the cap of {usdc_text(cap)} USDC"
    return None


@dataclass(frozen=True, slots=True)
class Work:
    """What one Job, or each run of one CronJob, is paid for."""

    key: str
    """The same for the same work; another one is another payment."""
    shown: str
    schedule: str = ""
    paid: str = ""
    amount: Decimal | None = field(default=None, compare=False)
    """USDC, where the manifest says how much."""

    def __str__(self) -> str:
        return f"{self.shown}{f', each run of {self.schedule!r}' if self.schedule else ''}: {self.paid}"


def work_of(manifest: Manifest) -> Work | None:
    """The work of a Job or CronJob; None for any other object."""
    if manifest["kind"] not in ("Job", "CronJob") or not manifest["apiVersion"].startswith("batch/"):
        return None
    scheduled = manifest["kind"] == "CronJob"
    metadata = manifest["metadata"]
    job = (manifest["spec"]["jobTemplate"].get("metadata") or {}) if scheduled else metadata
    annotations = job.get("annotations") or {}
    paid, amount = _paid(annotations)
    given, namespace = annotations.get(WORK_ID_ANNOTATION), metadata.get("namespace", "")
    # Without an id each Job that is created is a work of its own, known by nothing but its name.
    key = f"{namespace}/id/{given}" if given else f"{namespace}/{manifest['kind']}/{metadata['name']}"
    schedule = f"{manifest['spec']['schedule']} {manifest['spec'].get('timeZone', '')}".strip() if scheduled else ""
    return Work(key, given or metadata["name"], schedule, paid, amount)


def _paid(annotations: Manifest) -> tuple[str, Decimal | None]:
    if request := annotations.get(ESCROW_REQUEST_ANNOTATION):
        try:
            asked = json.loads(request)
            amount, payee = usdc(asked.get("amountUsdc")), asked.get("payee")
        except (ValueError, AttributeError):
            amount, payee = None, None
        shown = "an unknown amount of" if amount is None else usdc_text(amount)
        return f"{shown} USDC to {payee if isinstance(payee, str) else 'an unknown payee'}", amount
    if escrow := annotations.get(ESCROW_ID_ANNOTATION):
        return f"what escrow {escrow} holds, unknown here", None
    return "no escrow is named or asked for, so the operator pays nothing", None


def usdc(value: Any) -> Decimal | None:
    """An amount as the settings write it; None for everything else, since a float is no amount."""
    return Decimal(value) if isinstance(value, str) and _USDC.fullmatch(value) else None
