"""Settings that say something and reach nothing, because another one that they need is not set."""

from collections.abc import Iterator

from components.settings import Problem, Settings
from components.settings.description import ROOT
from components.settings.section import Section


def without_effect(settings: Settings) -> Iterator[Problem]:
    """Each of them, with what it needs. Switched-off parts keep their settings: those are no finding."""
    for path, needed in _unmet(settings):
        if _is_set(settings, path):
            yield Problem(f"{ROOT}.{path}", f"has no effect: it needs {needed}")
    for index, agent in enumerate(settings.agents):
        if not agent.schedule and agent.time_zone != type(agent).model_fields["time_zone"].default:
            yield Problem(f"{ROOT}.agents[{index}].timeZone", "has no effect: it needs a schedule")


def _unmet(settings: Settings) -> Iterator[tuple[str, str]]:
    mcp, network, hpa = settings.mcp, settings.network, settings.hpa
    if not settings.operator.enabled:
        limits = [str(info.alias) for name, info in type(settings.budget).model_fields.items() if name != "cap_usdc"]
        yield from (
            (f"budget.{limit}", "operator.enabled: true, for the operator keeps the limits") for limit in limits
        )
    if mcp.pod_budget_usdc is None and mcp.pod_daily_budget_usdc is None:
        yield "mcp.onExceed", "mcp.podBudgetUsdc or mcp.podDailyBudgetUsdc"
    if not mcp.enabled:
        rules = ("denyTools", "payees", "spendLimitUsdc", "podBudgetUsdc", "podDailyBudgetUsdc")
        yield from ((f"mcp.{rule}", "mcp.enabled: true, for the sidecar keeps the rules") for rule in rules)
    if settings.scales_workers:
        yield "worker.replicas", "hpa.enabled: false; with it, hpa.minReplicas and hpa.maxReplicas say how many"
    if hpa.metrics_server.tls != "certManager":
        yield "hpa.metricsServer.issuer", "hpa.metricsServer.tls: certManager"
    if not (network.ca_bundle.config_map or network.ca_bundle.secret):
        yield "network.caBundle.key", "network.caBundle.configMap or network.caBundle.secret"
    if not (network.proxy.https_url or network.proxy.http_url):
        yield "network.proxy.noProxy", "network.proxy.httpsUrl or network.proxy.httpUrl"
    if not settings.monitoring.enabled:
        yield "monitoring.openCostUrl", "monitoring.enabled: true"
    if settings.encryption.provider == "none":
        yield "encryption.keyId", "encryption.provider"


def _is_set(settings: Settings, path: str) -> bool:
    """Whether it differs from its default; what is written out and says the same is not told."""
    section: Section = settings
    *above, last = path.split(".")
    for part in above:
        section = getattr(section, _field(section, part))
    name = _field(section, last)
    return getattr(section, name) != type(section).model_fields[name].default


def _field(section: Section, alias: str) -> str:
    return next(name for name, info in type(section).model_fields.items() if info.alias == alias)
