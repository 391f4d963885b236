"""Warnings: values that Kubernetes accepts but that are probably not meant. Printed, never refused."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from importlib.util import find_spec
from typing import Any

from components.settings import Problem, Settings, quantity
from components.settings.description import ROOT
from components.settings.section import Resources
from components.settings.without_effect import without_effect
from runtime.schedule import Schedule


def warnings(settings: Settings) -> Iterator[Problem]:
    """Every doubtful value, with its path."""
    schedules = [(f"{ROOT}.agents[{index}].schedule", agent.schedule) for index, agent in enumerate(settings.agents)]
    if settings.pays_workers:
        schedules.append((f"{ROOT}.payroll.schedule", settings.payroll.schedule))
    for path, text in schedules:
        if text:
            yield from _schedule(path, text)
    yield from _without_program(settings)
    yield from _unpaid(settings)
    yield from _exposed(settings)
    yield from _not_its_own(settings)
    yield from _shared_work(settings)
    yield from _unlimited(settings)
    yield from _keys_in_plain_text(settings)
    yield from without_effect(settings)
    for path, resources in _resources(settings):
        yield from _units(path, resources)


def _schedule(path: str, text: str) -> Iterator[Problem]:
    schedule = Schedule.parse(text)
    if not schedule.ever_runs():
        yield Problem(path, f"{text!r} names a date that never comes; Kubernetes accepts it and runs nothing")
    elif schedule.either_day_is_enough:
        year = datetime.now(UTC).year
        yield Problem(
            path,
            f"{text!r} runs on days that match the day of the month or the day of the week, {schedule.runs_in(year)} "
            f"times in {year}: Kubernetes wants both to match only where one of the two is `*` or `?`",
        )


def _without_program(settings: Settings) -> Iterator[Problem]:
    """What the runtime image has no program for yet: money may be locked for pods that can only crash."""
    uses = [
        (f"{ROOT}.worker.enabled", settings.worker.enabled, "agent_worker"),
        (f"{ROOT}.payroll.enabled", settings.pays_workers, "payroll"),
        (f"{ROOT}.mcp.enabled", settings.mcp.enabled, "mcp_proxy"),
    ]
    for index, agent in enumerate(settings.agents):
        uses.append((f"{ROOT}.agents[{index}].command", not (agent.image or agent.command), "agent_worker"))
    for path, used, program in uses:
        if used and find_spec(f"runtime.{program}") is None:
            yield Problem(path, f"the runtime image has no runtime.{program} yet, so its pods can only crash")


def _unpaid(settings: Settings) -> Iterator[Problem]:
    if settings.funding.mode == "annotation":
        for index, agent in enumerate(settings.agents):
            if agent.schedule:
                message = "its Jobs have no escrow and nobody is paid for them; funding.mode: request funds each run"
                yield Problem(f"{ROOT}.agents[{index}].schedule", message)


_KEY_NAME = re.compile(r"(?:^|_)(?:API_?KEY|KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)\Z", re.IGNORECASE)
_KEY_VALUE = re.compile(
    r"(?:sk|pk|rk|pf|ghp|gho|ghs|glpat|hf|xox[abprs])[-_][A-Za-z0-9_-]{12,}"
    r"|AKIA[A-Z0-9]{16}|AIza[A-Za-z0-9_-]{30,}|eyJ[A-Za-z0-9_-]{20,}\..*|-----BEGIN .*",
    re.DOTALL,
)


def _keys_in_plain_text(settings: Settings) -> Iterator[Problem]:
    """Values that look like keys: they stand in the clear in the stack file, in Jobs and in every rendered file."""
    for path, name, value in _plain_variables(settings):
        if value and (_KEY_NAME.search(name) or _KEY_VALUE.fullmatch(value)):
            message = (
                "looks like a key, and stands in the clear in the stack file and in every Job; put it into a Secret, "
                "and refer to it in podTemplate: env: [{name: A, valueFrom: {secretKeyRef: {name: SECRET, key: KEY}}}]"
            )
            yield Problem(path, message)


def _plain_variables(settings: Settings) -> Iterator[tuple[str, str, str]]:
    places = [(f"{ROOT}.agents[{index}]", agent) for index, agent in enumerate(settings.agents)]
    for path, one in (*places, (f"{ROOT}.worker", settings.worker)):
        yield from ((f"{path}.env.{name}", name, value) for name, value in one.env.items())
        for kind in ("containers", "initContainers"):
            for index, container in enumerate(one.pod_template.get("spec", {}).get(kind, ())):
                at = f"{path}.podTemplate.spec.{kind}[{index}].env"
                yield from _written(at, container.get("env") or ())


def _written(path: str, variables: Iterable[Any]) -> Iterator[tuple[str, str, str]]:
    for index, variable in enumerate(variables):
        if isinstance(variable, Mapping) and isinstance(variable.get("value"), str):
            yield f"{path}[{index}]", str(variable.get("name", "")), variable["value"]


def _exposed(settings: Settings) -> Iterator[Problem]:
    message = (
        "its own container holds the payer's key, so it can spend the payer's whole balance, whatever budgets and "
        "budget.capUsdc say"
    )
    for index, agent in enumerate(settings.agents):
        if agent.credential == "payer":
            yield Problem(f"{ROOT}.agents[{index}].credential", message)
    if settings.worker.enabled and settings.worker.credential == "payer":
        yield Problem(f"{ROOT}.worker.credential", message)


def _not_its_own(settings: Settings) -> Iterator[Problem]:
    """Who is paid under an id that the faucet claim registers with the payer's key; other dialects register nobody."""
    payees = {settings.worker.payee, *(agent.payee for agent in settings.agents)}
    for index, agent in enumerate(settings.agents):
        registered = settings.api.dialect == "kubernetes" and settings.faucet.claim_on_startup
        if registered and agent.credential != "own" and agent.agent_id and agent.agent_id in payees:
            message = (
                "the faucet claim registers it with the payer's key, which can then spend what it earns, as can every "
                "other agent with that key; credential: own gives it one of its own"
            )
            yield Problem(f"{ROOT}.agents[{index}].agentId", message)


def _unlimited(settings: Settings) -> Iterator[Problem]:
    watched, budget = settings.operator.watch_namespace or settings.namespace, settings.budget
    limited = budget.namespace_usdc is not None or budget.namespace_daily_usdc is not None
    if settings.operator.enabled and watched != settings.namespace and not limited:
        message = (
            "without budget.namespaceUsdc or budget.namespaceDailyUsdc nothing is locked outside the stack's own "
            "namespace, but where a Budget object gives a limit (docs/operator.md)"
        )
        yield Problem(f"{ROOT}.operator.watchNamespace", message)


def _shared_work(settings: Settings) -> Iterator[Problem]:
    counts = Counter(agent.work_id for agent in settings.agents if agent.work_id)
    for index, agent in enumerate(settings.agents):
        if counts[agent.work_id] > 1:
            message = f"{agent.work_id!r} stands for the work of several agents: one of them runs and is paid"
            yield Problem(f"{ROOT}.agents[{index}].workId", message)


def _resources(settings: Settings) -> Iterator[tuple[str, Resources]]:
    for index, agent in enumerate(settings.agents):
        yield f"{ROOT}.agents[{index}].resources", agent.resources
    sections = ("faucet", "worker", "mcp", "operator", "payroll", "sandbox")
    yield from ((f"{ROOT}.{name}.resources", getattr(settings, name).resources) for name in sections)
    yield f"{ROOT}.hpa.metricsServer.resources", settings.hpa.metrics_server.resources


def _units(path: str, resources: Resources) -> Iterator[Problem]:
    for name, amounts in (("requests", resources.requests), ("limits", resources.limits)):
        if quantity.is_binary(amounts.cpu):
            yield Problem(f"{path}.{name}.cpu", f"{amounts.cpu!r} is that many cores, in a unit of bytes")
        if quantity.parse(amounts.memory) % 1:
            yield Problem(f"{path}.{name}.memory", f"{amounts.memory!r} is a fraction of a byte")
