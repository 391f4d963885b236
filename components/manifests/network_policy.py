"""Default deny in the namespace, then for each program only whom it must reach and who must reach it.

NetworkPolicy knows pods and addresses, not host names: the payment services are "the public Internet on port 443",
with private networks left out. The API server is no pod either, and is named by network.
"""

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_network
from urllib.parse import urlsplit

from components.manifests import services
from components.manifests.naming import Manifest, labels, metadata, selector
from components.settings import Settings
from components.settings.names import address
from runtime.contract import Port, ProgramName

_PAYING = (ProgramName.AGENT, ProgramName.WORKER, ProgramName.OPERATOR, ProgramName.PAYROLL, ProgramName.METRICS)
_NAT64 = IPv6Address("64:ff9b::")
"""The well-known prefix, of 96 bits; public addresses behind it stay reachable, as DNS64 needs."""


def default_deny(settings: Settings) -> Manifest:
    """No pod is reached or reaches anything unless another policy says so."""
    return _policy(settings, "pf-default-deny", _all_pods(settings), [], [])


def dns(settings: Settings) -> Manifest:
    """Every pod may ask the cluster's DNS."""
    place = settings.network_policy.dns
    peers: list[Manifest] = [{"ipBlock": {"cidr": cidr}} for cidr in place.cidrs]
    if place.pod_labels:  # a selector without labels is every pod of the namespace
        pods = {"matchLabels": dict(place.pod_labels)}
        peers.insert(0, {"namespaceSelector": _named(place.namespace), "podSelector": pods})
    ports = [{"protocol": protocol, "port": port} for port in place.ports for protocol in ("UDP", "TCP")]
    return _policy(settings, "pf-dns", _all_pods(settings), None, [{"to": peers, "ports": ports}])


def _all_pods(settings: Settings) -> Manifest:
    """All of the namespace where that is the stack's; else its own pods, for the others are somebody's."""
    return {} if settings.create_namespace else {"matchLabels": labels()}


def agents(settings: Settings) -> Manifest:
    """Agents reach the services; nobody reaches an agent but the collector of metrics."""
    return _component(settings, ProgramName.AGENT, [_scrape(settings, Port.HEALTH)], _payment(settings, outside=True))


def workers(settings: Settings) -> Manifest:
    """Workers reach the services and, to claim tasks, the API server; payroll reads their work log."""
    ingress = [
        {"from": [_pods(ProgramName.PAYROLL)], "ports": [_tcp(Port.WORKER)]},
        _scrape(settings, Port.WORKER, Port.HEALTH),
    ]
    egress = _payment(settings, outside=True)
    if settings.worker.work_log:
        egress = [_api_server(settings), *egress]
    return _component(settings, ProgramName.WORKER, ingress, egress)


def operator(settings: Settings) -> Manifest:
    """The operator reaches the API server and the services."""
    egress = [_api_server(settings), *_payment(settings)]
    return _component(settings, ProgramName.OPERATOR, [_scrape(settings, Port.METRICS)], egress)


def payroll(settings: Settings) -> Manifest:
    """Payroll reaches the API server, the services and the workers."""
    egress = [
        _api_server(settings),
        *_payment(settings),
        {"to": [_pods(ProgramName.WORKER)], "ports": [_tcp(Port.WORKER)]},
    ]
    return _component(settings, ProgramName.PAYROLL, [], egress)


def retention(settings: Settings) -> Manifest:
    """Retention reaches the API server and, where the archive is one, its bucket."""
    egress = [_api_server(settings)]
    if not settings.retention.in_folder:
        ports = [_tcp(port) for port in settings.network_policy.egress.ports]
        egress.append({"to": _outside(settings), "ports": ports})
    return _component(settings, ProgramName.RETENTION, [], egress)


def metrics_server(settings: Settings) -> Manifest:
    """The aggregator, KEDA and the collector of metrics reach the metrics server; it reaches the queue."""
    place = settings.network_policy
    ingress = [_scrape(settings, Port.METRICS)]
    if settings.hpa.engine == "hpa":
        # The aggregator dials from the control plane's own address.
        blocks = [{"ipBlock": {"cidr": cidr}} for cidr in place.api_server.cidrs]
        ingress.insert(0, {"from": blocks, "ports": [_tcp(Port.CUSTOM_METRICS)]})
    if settings.hpa.engine == "keda":
        keda = [{"namespaceSelector": _named(place.keda_namespace)}]
        ingress.insert(0, {"from": keda, "ports": [_tcp(Port.METRICS)]})
    return _component(settings, ProgramName.METRICS, ingress, [_api_server(settings), *_payment(settings)])


def sandbox(settings: Settings) -> Manifest:
    """Whoever pays reaches the sandbox; it reaches nobody."""
    ingress = [{"from": [_pods(component) for component in _PAYING], "ports": [_tcp(Port.SANDBOX)]}]
    return _component(settings, ProgramName.SANDBOX, ingress, [])


def _payment(settings: Settings, *, outside: bool = False) -> list[Manifest]:
    """Egress to the configured services; `outside` also where none of them is, for what agents call on their own."""
    proxy = settings.network.proxy
    on_the_way = [url for url in (proxy.https_url, proxy.http_url) if url]
    called = (*services.urls(settings).values(), *services.mcp_urls(settings).values(), *on_the_way)
    parts = [urlsplit(url) for url in called]
    rules: list[Manifest] = []
    if settings.sandbox.enabled:
        rules.append({"to": [_pods(ProgramName.SANDBOX)], "ports": [_tcp(Port.SANDBOX)]})
    own = urlsplit(services.sandbox_url(settings)).hostname
    named, numbered = set(), set()
    for part in parts:
        port = part.port or (443 if part.scheme == "https" else 80)
        host = part.hostname or ""
        if host != own:
            (numbered if address(host) else named).add((host, port))
    # An address that is written down is meant, even where it is a private one.
    rules += [
        {"to": [{"ipBlock": {"cidr": str(ip_network(host))}}], "ports": [_tcp(port)]} for host, port in sorted(numbered)
    ]
    if named or outside:
        ports = sorted({*settings.network_policy.egress.ports, *(port for _, port in named)})
        rules.append({"to": _outside(settings), "ports": [_tcp(port) for port in ports]})
    return rules


def _outside(settings: Settings) -> list[Manifest]:
    egress = settings.network_policy.egress
    # An API server with a public address is not for agents; who needs it has a rule of its own.
    closed = [*egress.excluded_cidrs, *settings.network_policy.api_server.cidrs]
    closed += [translated for cidr in closed if (translated := _by_nat64(cidr))]
    blocks = []
    for cidr in egress.cidrs:
        # `except` must lie inside the block: each family gets its own exceptions, and a narrow block gets none.
        inside = [excluded for excluded in closed if excluded != cidr and _contains(cidr, excluded)]
        blocks.append({"ipBlock": {"cidr": cidr} | ({"except": inside} if inside else {})})
    return blocks


def _by_nat64(cidr: str) -> str | None:
    """An IPv4 network as a NAT64 gateway has it (RFC 6052): on an IPv6 cluster it would be the way around."""
    network = ip_network(cidr)
    if not isinstance(network, IPv4Network) or network.prefixlen == 0:
        return None
    return str(IPv6Network((int(_NAT64) | int(network.network_address), 96 + network.prefixlen)))


def _contains(outer: str, inner: str) -> bool:
    block, part = ip_network(outer), ip_network(inner)
    if isinstance(block, IPv4Network) and isinstance(part, IPv4Network):
        return part.subnet_of(block)
    return isinstance(block, IPv6Network) and isinstance(part, IPv6Network) and part.subnet_of(block)


def _api_server(settings: Settings) -> Manifest:
    place = settings.network_policy.api_server
    return {"to": [{"ipBlock": {"cidr": cidr}} for cidr in place.cidrs], "ports": [_tcp(port) for port in place.ports]}


def _scrape(settings: Settings, *ports: int) -> Manifest:
    collector = {"namespaceSelector": _named(settings.network_policy.monitoring_namespace)}
    return {"from": [collector], "ports": [_tcp(port) for port in ports]}


def _component(settings: Settings, component: ProgramName, ingress: list[Manifest], egress: list[Manifest]) -> Manifest:
    return _policy(settings, f"pf-{component.value}", {"matchLabels": selector(component)}, ingress, egress)


def _policy(
    settings: Settings, name: str, pods: Manifest, ingress: Iterable[Manifest] | None, egress: list[Manifest]
) -> Manifest:
    types = ["Egress"] if ingress is None else ["Ingress", "Egress"]
    # A direction that is listed and has no rule is closed. The API server does not keep an empty list of rules: it
    # would be a difference, and a new generation, at every apply.
    rules = {"ingress": [*filter(_is_limited, ingress or ())], "egress": [*filter(_is_limited, egress)]}
    spec = {"podSelector": pods, "policyTypes": types, **{side: found for side, found in rules.items() if found}}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(settings, name),
        "spec": spec,
    }


def _is_limited(rule: Manifest) -> bool:
    """Whether each of the rule's lists has an entry: in a NetworkPolicy an empty list of peers or ports means all."""
    return all(rule.values())


def _pods(component: ProgramName) -> Manifest:
    return {"podSelector": {"matchLabels": selector(component)}}


def _named(namespace: str) -> Manifest:
    return {"matchLabels": {"kubernetes.io/metadata.name": namespace}}


def _tcp(port: int) -> Manifest:
    return {"protocol": "TCP", "port": int(port)}
