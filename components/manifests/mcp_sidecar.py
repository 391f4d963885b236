"""The MCP proxy beside an agent, a native sidecar: an init container that keeps running and never holds up a Job."""

from components.manifests import credentials, naming, pod, services
from components.manifests.naming import Manifest
from components.settings import Settings
from runtime.contract import Env, Port, Route, command


def proxy_url(settings: Settings) -> str:
    """Where the agent finds the sidecar: in its own pod."""
    return f"http://localhost:{settings.mcp.container_port}"


def sidecar(settings: Settings) -> Manifest:
    """The container `pf-mcp-proxy`; the agent starts only once it answers."""
    upstream = services.mcp_urls(settings)
    return pod.container(
        settings,
        naming.MCP_PROXY,
        command("mcp_proxy"),
        settings.mcp.resources,
        restartPolicy="Always",
        env=[
            credentials.file_env(),
            *pod.env(
                {
                    Env.MCP_FAUCET_URL: upstream["faucet"],
                    Env.MCP_ESCROW_URL: upstream["escrow"],
                    Env.MCP_PORT: settings.mcp.container_port,
                    Env.ALLOW_HTTP: services.allow_http(settings) or "",
                    Env.LOG_LEVEL: pod.log_level(settings),
                }
            ),
        ],
        ports=[
            {"name": "mcp", "containerPort": settings.mcp.container_port},
            {"name": "health", "containerPort": Port.HEALTH.value},
        ],
        startupProbe=pod.http_probe(Route.READYZ, "health", periodSeconds=1, failureThreshold=60),
        livenessProbe=pod.http_probe(Route.LIVEZ, "health", periodSeconds=10, failureThreshold=6),
        volumeMounts=[credentials.mount()],
    )
