"""Who reaches whom in a stack: the whole table, so that a new hole or a new wall is seen."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.manifests import stack
from components.settings import Settings
from tests.components import stacks
from tests.components.network import Endpoint, reaches
from tests.components.references import pod_specs

HERE = "agent-jobs"
OUTSIDE = {
    "service": Endpoint("203.0.113.10"),
    "service-v6": Endpoint("2001:db8::10"),
    "api-server": Endpoint("192.0.2.1"),
    "metadata": Endpoint("169.254.169.254"),
    "private": Endpoint("10.20.30.40"),
    "metadata-by-nat64": Endpoint("64:ff9b::a9fe:a9fe"),
    "private-by-nat64": Endpoint("64:ff9b::a14:1e28"),
    "service-by-nat64": Endpoint("64:ff9b::cb00:710a"),
    "other-pod": Endpoint("10.20.30.41", "other", {"app": "other"}),
    "collector": Endpoint("10.20.30.42", "monitoring", {"app": "prometheus"}),
    "dns": Endpoint("10.20.30.43", "kube-system", {"k8s-app": "kube-dns"}),
    "keda": Endpoint("10.20.30.44", "keda", {"app": "keda-operator"}),
    "stray": Endpoint("10.20.30.45", HERE, {"app": "somebody's"}),
}
PORTS = (443, 6443, 8080, 8081, 8443, 8765, 9090)


def world(mapping):
    """Policies and endpoints of a stack; pods are called by their component."""
    mapping = {"networkPolicy": {"apiServer": {"cidrs": ["192.0.2.1/32"]}}} | mapping
    objects = stack.objects(Settings.parse(mapping))
    found = (labels for o in objects for labels, _ in pod_specs(o))
    pods = {own["app.kubernetes.io/component"]: Endpoint(f"10.20.31.{n}", HERE, own) for n, own in enumerate(found)}
    return [o for o in objects if o["kind"] == "NetworkPolicy"], OUTSIDE | pods


def table(mapping) -> set[str]:
    """All connections over TCP that pass, of those with a pod of the stack at one end."""
    policies, endpoints = world(mapping)
    return {
        f"{source} → {target}:{port}"
        for source, target in itertools.permutations(endpoints, 2)
        if HERE in (endpoints[source].namespace, endpoints[target].namespace)
        for port in PORTS
        if reaches(policies, endpoints[source], endpoints[target], port)
    }


def to(*targets: str, of: tuple[str, ...]) -> set[str]:
    """Every source with every target."""
    return {f"{source} → {target}" for source in of for target in targets}


PAYING = ("agent", "worker", "operator", "payroll", "metrics-server")
SERVERS = ("worker", "operator", "payroll", "metrics-server")
COMMON = (
    to("api-server:443", "api-server:6443", of=SERVERS)
    | to("worker:8080", of=("payroll",))
    | to("operator:9090", "metrics-server:9090", "worker:8080", "worker:8081", "agent:8081", of=("collector",))
)
PUBLIC = to("service:443", "service-v6:443", "service-by-nat64:443", of=PAYING)
AGGREGATOR = {"api-server → metrics-server:8443"}


def test_stack_on_the_public_service():
    assert table({}) == COMMON | PUBLIC | AGGREGATOR


def test_sandbox_keeps_the_programs_inside():
    """Only agents go out, for what they call on their own; the programs that pay cannot reach the real service."""
    sandbox = {"credentials": {"existingSecret": ""}, "sandbox": {"enabled": True}}
    outside = to("service:443", "service-v6:443", "service-by-nat64:443", of=("agent", "worker"))
    assert table(sandbox) == COMMON | AGGREGATOR | outside | to("sandbox:8080", of=PAYING)


def test_keda_reads_the_queue_and_the_aggregator_has_no_business():
    assert table({"hpa": {"engine": "keda"}}) == COMMON | PUBLIC | {"keda → metrics-server:9090"}


def test_retention_reaches_its_bucket_and_no_other_payment():
    keeping = {"archiveAfterDays": 1, "archiveUrl": "s3://b/f"}
    api = to("api-server:443", "api-server:6443", of=("retention",))
    bucket = to("service:443", "service-v6:443", "service-by-nat64:443", of=("retention",))
    assert table({"retention": keeping}) == COMMON | PUBLIC | AGGREGATOR | api | bucket
    folder = {**keeping, "archiveUrl": "file:///archive", "archiveClaim": "accounts"}
    assert table({"retention": folder}) == COMMON | PUBLIC | AGGREGATOR | api


def test_service_on_a_port_of_its_own():
    services = {f"{name}Url": "https://pay.example:8443" for name in ("faucet", "escrow")}
    found = table({"services": services})
    assert found - COMMON - PUBLIC - AGGREGATOR == to(
        "service:8443", "service-v6:8443", "service-by-nat64:8443", of=PAYING
    )


def test_service_by_a_private_address():
    """An address that somebody wrote down is meant; the rest of the private network stays closed."""
    url = {
        f"{name}Url": "http://10.20.30.40:8080"
        for name in ("faucet", "escrow", "casino", "trading", "wallet", "domains")
    }
    mcp = {"faucetEndpoint": "http://10.20.30.40:8080/f", "escrowEndpoint": "http://10.20.30.40:8080/e"}
    found = table({"services": url, "mcp": mcp, "sandbox": {"enabled": True}})
    assert to("private:8080", of=PAYING) <= found
    assert not any("→ other-pod" in line or "→ metadata" in line for line in found)


@pytest.mark.parametrize("protocol", ["UDP", "TCP"])
def test_every_pod_may_ask_for_names(protocol):
    policies, endpoints = world({})
    inside = [endpoint for endpoint in endpoints.values() if endpoint.namespace == HERE]
    assert all(reaches(policies, pod, endpoints["dns"], 53, protocol) for pod in inside)
    assert all(reaches(policies, pod, Endpoint("169.254.20.10"), 53, protocol) for pod in inside)


def test_narrow_networks_have_no_exceptions_outside_them():
    """`except` outside its block is refused by the API server."""
    policies, endpoints = world({"networkPolicy": {"egress": {"cidrs": ["203.0.113.0/24", "10.0.0.0/7"]}}})
    blocks = [
        peer["ipBlock"]
        for p in policies
        for rule in p["spec"].get("egress", ())
        for peer in rule["to"]
        if "ipBlock" in peer
    ]
    assert {"cidr": "203.0.113.0/24"} in blocks
    assert {"cidr": "10.0.0.0/7", "except": ["10.0.0.0/8"]} in blocks
    assert reaches(policies, endpoints["agent"], endpoints["service"], 443)
    assert not reaches(policies, endpoints["agent"], endpoints["service-v6"], 443)


def test_without_policies_nothing_is_held_back():
    policies, endpoints = world({"networkPolicy": {"enabled": False}})
    assert policies == []
    assert reaches(policies, endpoints["stray"], endpoints["worker"], 8080)


EMPTY = {
    "egress.cidrs": {"egress": {"cidrs": []}},
    "egress.ports": {"egress": {"ports": []}},
    "apiServer.cidrs": {"apiServer": {"cidrs": []}},
    "apiServer.ports": {"apiServer": {"ports": []}},
    "dns": {"dns": {"cidrs": [], "podLabels": {}}},
    "everything": {
        "egress": {"cidrs": [], "ports": []},
        "apiServer": {"cidrs": [], "ports": []},
        "dns": {"cidrs": [], "podLabels": {}},
    },
}
NARROW = {"apiServer": {"cidrs": ["192.0.2.1/32"]}}


@pytest.mark.parametrize("name", EMPTY)
@pytest.mark.parametrize("more", [{}, {"hpa": {"engine": "keda"}}, {"sandbox": {"enabled": True}}])
def test_an_empty_list_never_means_all(name, more):
    """In a NetworkPolicy it does: nobody else is reached for want of peers, no other port for want of ports."""
    emptied = {key: NARROW.get(key, {}) | value for key, value in EMPTY[name].items()}
    mapping = {"networkPolicy": NARROW | emptied, **more}
    before = table({"networkPolicy": NARROW, **more})
    # An API server that is not named is an address like any other of the public service.
    unnamed = to("api-server:443", of=("agent", "worker")) if name in ("apiServer.cidrs", "everything") else set()
    assert table(mapping) <= before | unnamed
    policies, endpoints = world(mapping)
    assert not any(
        reaches(policies, endpoints["agent"], endpoint, port, protocol)
        for endpoint in (endpoints["metadata"], endpoints["other-pod"], Endpoint("10.20.30.46", "kube-system", {}))
        for port in (53, *PORTS)
        for protocol in ("TCP", "UDP")
    )


@given(stacks.mappings(), st.data())
def test_no_rule_has_an_empty_list(mapping, data):
    """Whatever is set: a list of peers or ports, and a selector of other people's pods, names at least one."""
    lists = {
        "egress": ("cidrs", "excludedCidrs", "ports"),
        "apiServer": ("cidrs", "ports"),
        "dns": ("cidrs", "podLabels"),
    }
    emptied = {
        section: {key: {} if key == "podLabels" else [] for key in data.draw(st.sets(st.sampled_from(keys)))}
        for section, keys in lists.items()
    }
    objects = stack.objects(Settings.parse(mapping | {"networkPolicy": {"enabled": True, **emptied}}))
    for spec in (o["spec"] for o in objects if o["kind"] == "NetworkPolicy"):
        for rule in (*spec.get("ingress", ()), *spec.get("egress", ())):
            assert rule
            assert all(rule.values())
            selectors = [
                peer["podSelector"] for peer in rule.get("to", []) + rule.get("from", []) if "podSelector" in peer
            ]
            assert all(selector["matchLabels"] for selector in selectors)


def test_a_proxy_by_its_address_is_reached_though_it_is_a_private_one():
    found = table({"network": {"proxy": {"httpsUrl": "http://10.20.30.40:9090"}}})
    assert found - COMMON - PUBLIC - AGGREGATOR == to("private:9090", of=PAYING)


def test_a_namespace_that_is_not_ours_keeps_its_own_pods_free():
    """Selected by our labels, nobody else's pod is cut off; ours are, as elsewhere."""
    assert table({"createNamespace": False}) - FREE == COMMON | PUBLIC | AGGREGATOR
    policies, endpoints = world({"createNamespace": False})
    assert reaches(policies, endpoints["collector"], endpoints["stray"], 8080)
    assert reaches(policies, endpoints["stray"], endpoints["service"], 443)
    assert not reaches(policies, endpoints["stray"], endpoints["operator"], 9090)


FREE = {
    f"{source} → {target}:{port}"
    for source, target in itertools.permutations(OUTSIDE, 2)
    if "stray" in (source, target)
    for port in PORTS
}
"""Whatever a pod does that is none of the stack's."""


def test_dns_on_another_port():
    """OpenShift's pods listen on 5353: a policy sees the pod's port, not the Service's."""
    policies, endpoints = world({"networkPolicy": {"dns": {"ports": [5353]}}})
    for protocol in ("UDP", "TCP"):
        assert reaches(policies, endpoints["agent"], endpoints["dns"], 5353, protocol)
        assert not reaches(policies, endpoints["agent"], endpoints["dns"], 53, protocol)
