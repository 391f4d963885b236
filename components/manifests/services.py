"""Where the six Purple Flea services and the two MCP servers are, as seen from a pod."""

from typing import Final

from components.manifests import naming
from components.settings import Settings
from runtime.contract import Env, Port, Route

SERVICES: Final = {
    "faucet": Env.FAUCET_URL,
    "escrow": Env.ESCROW_URL,
    "casino": Env.CASINO_URL,
    "trading": Env.TRADING_URL,
    "wallet": Env.WALLET_URL,
    "domains": Env.DOMAINS_URL,
}


def public_url(service: str) -> str:
    """The published address of one service."""
    return f"https://{service}.purpleflea.com"


def sandbox_url(settings: Settings) -> str:
    """The stack's sandbox, which answers for all six services."""
    return f"http://{naming.SANDBOX}.{settings.namespace}.svc:{Port.SANDBOX.value}"


def url(settings: Settings, service: str) -> str:
    """Base URL of one service: as configured, else the sandbox where it is enabled, else the public one."""
    configured = getattr(settings.services, f"{service}_url")
    return configured or (sandbox_url(settings) if settings.sandbox.enabled else public_url(service))


def is_given(settings: Settings, service: str) -> bool:
    """Whether the settings say where the service is; otherwise the credentials Secret may."""
    return bool(getattr(settings.services, f"{service}_url")) or settings.sandbox.enabled


def urls(settings: Settings) -> dict[str, str]:
    """Base URLs of all six services."""
    return {service: url(settings, service) for service in SERVICES}


def mcp_urls(settings: Settings) -> dict[str, str]:
    """The upstream MCP servers of the sidecar, by service: of the same service that the rest of the stack speaks to."""
    return {
        "faucet": settings.mcp.faucet_endpoint or _mcp_url(settings, "faucet", Route.SANDBOX_MCP_FAUCET),
        "escrow": settings.mcp.escrow_endpoint or _mcp_url(settings, "escrow", Route.SANDBOX_MCP_ESCROW),
    }


def _mcp_url(settings: Settings, service: str, in_sandbox: Route) -> str:
    is_sandbox = url(settings, service) == sandbox_url(settings)
    path = in_sandbox.value if is_sandbox else "/mcp"
    return f"{url(settings, service).rstrip('/')}{path}"


def allow_http(settings: Settings) -> bool:
    """Whether plain HTTP is permitted: only beside a sandbox."""
    return settings.sandbox.enabled
