"""Checks across several settings. Each problem names the paths that it depends on."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING

from pydantic import BaseModel

from components.settings import quantity
from components.settings.budget import exposure
from components.settings.fly import fly_problems
from components.settings.image_reference import ImageReference
from components.settings.problems import ROOT, Problem
from components.settings.section import Resources
from components.settings.values import usdc_text
from runtime.contract import MINIMUM_ESCROW_USDC, Env, MountPath, Port

if TYPE_CHECKING:
    from components.settings import Settings
    from components.settings.workloads import Agent

RESERVED_ENV = frozenset(name.value for name in Env)
_TAKEN_PORTS = (Port.HEALTH.value, Port.WORKER.value)


def problems(settings: "Settings") -> Iterator[Problem]:
    """Every finding across the settings; none where they are right."""
    yield from _resources(settings, ROOT)
    yield from _credentials(settings)
    yield from _urls(settings)
    yield from _times(settings)
    yield from _agents(settings)
    yield from _watched(settings)
    yield from _workers(settings)
    yield from _platform(settings)
    yield from _network(settings)
    yield from _namespaces(settings)
    yield from _minimum(settings)
    yield from _cap(settings)
    yield from _limits(settings)
    yield from _archive(settings)
    if settings.fly.enabled:
        yield from (replace(found, concerns=(f"{ROOT}.fly",)) for found in fly_problems(settings.fly))


def deployment_problems(settings: "Settings") -> Iterator[Problem]:
    """What must be decided for a stack before it is rendered or deployed."""
    if settings.sandbox.enabled or not settings.enabled:
        return
    images, path = settings.images, f"{ROOT}.images.runtime"
    is_given = images.runtime != type(images).model_fields["runtime"].default
    if not is_given:
        message = (
            "is required where there is no sandbox: your own build of the image (`make image`), by its digest, "
            "name@sha256:...; anybody may own the default's name, and its pods hold the payer's key"
        )
        yield _problem(path, message, f"{ROOT}.sandbox", path)
    named = {
        path: images.runtime if is_given else "",
        f"{ROOT}.operator.image": settings.operator.image if settings.operator.enabled else "",
        f"{ROOT}.fly.baseImage": settings.fly.base_image if settings.fly.enabled else "",
    }
    for place, image in named.items():
        if image and not images.allow_tag and not ImageReference.parse(image).digest:
            message = (
                f"{image!r}: name the image by its digest, name@sha256:...: whoever may push the tag would get the "
                "payer's key; images.allowTag: true takes a tag on purpose"
            )
            yield _problem(place, message, f"{ROOT}.sandbox", f"{ROOT}.images")


def _resources(section: BaseModel, path: str) -> Iterator[Problem]:
    if isinstance(section, Resources):
        for kind in ("cpu", "memory"):
            request, limit = getattr(section.requests, kind), getattr(section.limits, kind)
            if quantity.parse(request) > quantity.parse(limit):
                yield _problem(f"{path}.requests.{kind}", f"{request} must not exceed the limit, {limit}", path)
        return
    for name, info in type(section).model_fields.items():
        value = getattr(section, name)
        for place, part in ((f"[{i}]", v) for i, v in enumerate(value)) if isinstance(value, tuple) else (("", value),):
            if isinstance(part, BaseModel):
                yield from _resources(part, f"{path}.{info.alias}{place}")


def _credentials(settings: "Settings") -> Iterator[Problem]:
    path, keys = f"{ROOT}.credentials", settings.credentials
    if not (keys.existing_secret or keys.agent_wallet or settings.sandbox.enabled):
        yield _problem(
            f"{path}.agentWallet",
            "is required: the agent id that the created Secret carries; or name an existing Secret in existingSecret",
            f"{ROOT}.sandbox",
            path,
        )
    names = Counter((keys.api_key_key, keys.agent_wallet_key, keys.faucet_url_key, keys.escrow_url_key))
    for name, count in names.items():
        if count > 1:
            yield _problem(path, f"key {name!r} stands for {count} different things", path)


def _urls(settings: "Settings") -> Iterator[Problem]:
    if settings.sandbox.enabled:
        return
    for section in ("services", "mcp"):
        part = getattr(settings, section)
        for name, info in type(part).model_fields.items():
            if str(getattr(part, name)).startswith("http://"):
                message = "must be https: plain http is allowed beside a sandbox only (sandbox.enabled: true)"
                yield _problem(f"{ROOT}.{section}.{info.alias}", message, f"{ROOT}.sandbox")


def _times(settings: "Settings") -> Iterator[Problem]:
    hours, escrow = settings.escrow.timeout_hours, f"{ROOT}.escrow.timeoutHours"
    for path, seconds, unit in (
        ("job.activeDeadlineSeconds", settings.job.active_deadline_seconds, 1),
        ("payroll.releaseAgeMinutes", settings.payroll.release_age_minutes * 60, 60),
    ):
        if seconds >= hours * 3600:
            yield _problem(
                f"{ROOT}.{path}",
                f"must be below the escrow's time-out, {hours * 3600 // unit}: after {hours} h the money goes back",
                escrow,
            )


def _agents(settings: "Settings") -> Iterator[Problem]:
    request = settings.funding.mode == "request"
    if request and not settings.operator.enabled:
        yield _problem(
            f"{ROOT}.funding.mode", "request needs the operator (operator.enabled: true)", f"{ROOT}.operator"
        )
    counts = Counter(agent.name for agent in settings.agents)
    for index, agent in enumerate(settings.agents):
        path = f"{ROOT}.agents[{index}]"
        if counts[agent.name] > 1:
            yield _problem(f"{path}.name", f"{agent.name!r} stands {counts[agent.name]} times; names are unique", path)
        if request and not agent.payee:
            yield _problem(f"{path}.payee", "is required where the operator funds the Job", f"{ROOT}.funding", path)
        if request and agent.escrow_id:
            yield _problem(f"{path}.escrowId", "belongs to funding.mode: annotation", f"{ROOT}.funding", path)
        if agent.schedule and agent.escrow_id:
            yield _problem(
                f"{path}.escrowId", "pays for one Job only, not for a schedule; use funding.mode: request", path
            )
        yield from _own_secret(settings, agent, path)
        if agent.completions is not None and agent.completions < agent.parallelism:
            message = f"{agent.completions} is fewer than parallelism ({agent.parallelism})"
            yield _problem(f"{path}.completions", message, path)
        yield from _environment(agent.env, f"{path}.env")


def _own_secret(settings: "Settings", agent: "Agent", path: str) -> Iterator[Problem]:
    if agent.own_secret and agent.credential != "own":
        yield _problem(f"{path}.ownSecret", "belongs to credential: own", path)
    elif agent.own_secret == settings.payer_secret:
        message = "is the payer's Secret; name one of the agent's own, or write credential: payer"
        yield _problem(f"{path}.ownSecret", message, path, f"{ROOT}.credentials")


def _watched(settings: "Settings") -> Iterator[Problem]:
    watched = settings.operator.watch_namespace
    left_out = watched and not watched.startswith("selector:") and settings.namespace not in watched.split(",")
    if left_out and settings.operator.enabled and settings.agents:
        message = f"{watched!r} leaves out the stack's own namespace, {settings.namespace}: nobody would pay its Jobs"
        concerns = [f"{ROOT}.{part}" for part in ("namespace", "agents", "operator")]
        yield _problem(f"{ROOT}.operator.watchNamespace", message, *concerns)


def _workers(settings: "Settings") -> Iterator[Problem]:
    hpa, path = settings.hpa, f"{ROOT}.hpa"
    yield from _environment(settings.worker.env, f"{ROOT}.worker.env")
    if hpa.min_replicas > hpa.max_replicas:
        message = f"{hpa.min_replicas} must not exceed maxReplicas ({hpa.max_replicas})"
        yield _problem(f"{path}.minReplicas", message, path)


def _archive(settings: "Settings") -> Iterator[Problem]:
    keeping, path = settings.retention, f"{ROOT}.retention"
    if not keeping.archives:
        return
    if not keeping.archive_url:
        yield _problem(f"{path}.archiveUrl", "is required with archiveAfterDays: where do accounts go?", path)
    elif keeping.archive_url.startswith("file:") and not keeping.in_folder:
        message = f"must lie below {MountPath.ARCHIVE}, where archiveClaim is mounted: file://{MountPath.ARCHIVE}"
        yield _problem(f"{path}.archiveUrl", message, path)
    elif keeping.in_folder and not keeping.archive_claim:
        message = "is required for a folder: what a container keeps for itself is gone with it, and the accounts too"
        yield _problem(f"{path}.archiveClaim", message, path)
    if keeping.archive_secret == settings.payer_secret:
        yield _problem(f"{path}.archiveSecret", "is the payer's Secret, and retention pays nobody", path)
    if not settings.operator.enabled:
        yield _problem(
            f"{path}.archiveAfterDays", "needs the operator (operator.enabled: true)", f"{ROOT}.operator", path
        )


def _minimum(settings: "Settings") -> Iterator[Problem]:
    least = Decimal(MINIMUM_ESCROW_USDC[settings.api.dialect])
    budgets = {
        "escrow.defaultBudgetUsdc": settings.escrow.default_budget_usdc,
        "worker.budgetUsdc": settings.worker.budget_usdc,
        **{f"agents[{index}].budgetUsdc": agent.budget_usdc for index, agent in enumerate(settings.agents)},
    }
    for path, amount in budgets.items():
        if amount is not None and amount < least:
            message = f"{usdc_text(amount)} USDC is below the service's minimum for an escrow, {usdc_text(least)}"
            yield _problem(f"{ROOT}.{path}", message, f"{ROOT}.api")


def _cap(settings: "Settings") -> Iterator[Problem]:
    cap, most = settings.budget.cap_usdc, exposure(settings)
    if cap is not None and most.total > cap:
        message = f"{usdc_text(cap)} USDC is less than the stack may lock at one time: {most}"
        others = [f"{ROOT}.{part}" for part in ("agents", "worker", "hpa", "escrow.defaultBudgetUsdc")]
        yield _problem(f"{ROOT}.budget.capUsdc", f"{message}; raise it, or lower budgets or hpa.maxReplicas", *others)


def _limits(settings: "Settings") -> Iterator[Problem]:
    """A limit below what one Job asks for: that Job would wait for ever."""
    budget = settings.budget
    agents = settings.agents if settings.funding.mode == "request" else ()
    most = max((settings.task_budget(agent) for agent in agents), default=Decimal(0))
    for name, info in type(budget).model_fields.items():
        limit = getattr(budget, name)
        if name.endswith("_usdc") and name != "cap_usdc" and limit is not None and limit < most:
            message = (
                f"{usdc_text(limit)} USDC is less than one agent's Job asks for, {usdc_text(most)}: it would never run"
            )
            others = [f"{ROOT}.{part}" for part in ("agents", "funding", "escrow.defaultBudgetUsdc")]
            yield _problem(f"{ROOT}.budget.{info.alias}", message, *others)


def _environment(env: dict[str, str], path: str) -> Iterator[Problem]:
    for name in env:
        if name in RESERVED_ENV:
            yield _problem(f"{path}.{name}", "is set by the stack; choose another name")


def _platform(settings: "Settings") -> Iterator[Problem]:
    port = settings.mcp.container_port
    if port < 1024 or port in _TAKEN_PORTS:
        taken = ", ".join(map(str, _TAKEN_PORTS))
        yield _problem(
            f"{ROOT}.mcp.containerPort", f"{port}: 1024 to 65535, and not {taken}, which the pod uses itself"
        )
    encryption = settings.encryption
    if encryption.provider in ("aws", "gcp", "azure") and not encryption.key_id:
        message = f"is required for provider {encryption.provider!r}"
        yield _problem(f"{ROOT}.encryption.keyId", message, f"{ROOT}.encryption")


def _network(settings: "Settings") -> Iterator[Problem]:
    path, bundle = f"{ROOT}.network.caBundle", settings.network.ca_bundle
    if bundle.config_map and bundle.secret:
        yield _problem(path, "is a ConfigMap or a Secret, not both", path)
    if bundle.secret and bundle.secret == settings.payer_secret:
        yield _problem(f"{path}.secret", "is the payer's Secret; use another one", path, f"{ROOT}.credentials")


def _namespaces(settings: "Settings") -> Iterator[Problem]:
    """Kubernetes' own namespaces are no place for a stack: they are under other rules, and their pods would be, too."""
    watched = settings.operator.watch_namespace
    named = {
        f"{ROOT}.namespace": [settings.namespace],
        f"{ROOT}.operator.watchNamespace": [] if watched.startswith("selector:") else watched.split(","),
    }
    for path, names in named.items():
        for name in names:
            if name.startswith("kube-"):
                yield _problem(path, f"{name!r} is Kubernetes' own; choose another namespace", path)
    if settings.namespace == "default" and settings.create_namespace:
        message = (
            "'default' is there already, and is not the stack's: set createNamespace: false, or choose another one"
        )
        yield _problem(f"{ROOT}.namespace", message, f"{ROOT}.createNamespace")


def _problem(path: str, message: str, *concerns: str) -> Problem:
    return Problem(path, message, concerns=(path, *concerns))
