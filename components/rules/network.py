"""Who may reach whom, by NetworkPolicies and Services; and what of it was closed before.

Policies add up: what counts is the sum of those that pick the same pods, whatever their names are.
"""

import ipaddress
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from components.manifests.naming import Manifest

Pods = tuple[str, str]
"""Namespace, and the selector of pods as JSON."""
_EVERY = "{}"
_WORDS = {"Ingress": "may be reached from", "Egress": "may reach"}
_PEERS = {"Ingress": "from", "Egress": "to"}


@dataclass(slots=True)
class _Reach:
    """What pods are let through in one direction; everything, unless some policy isolates them."""

    isolated: bool = False
    open: list[tuple[Manifest, Manifest]] = field(default_factory=list)
    """Peer and port; empty for any."""


def widened(before: Iterable[Manifest], after: Iterable[Manifest]) -> list[str]:
    """A sentence for each way that is open now and was not."""
    before, after = [*before], [*after]
    found: list[str] = []
    old, new = ([one for one in some if one["kind"] == "NetworkPolicy"] for some in (before, after))
    picked = {_pods(one) for one in (*old, *new)}
    for pods in sorted(picked):
        for direction in _WORDS:
            found += _opened(pods, direction, _reach(old, pods, direction), _reach(new, pods, direction))
    return [*found, *_services(before, after)]


def _opened(pods: Pods, direction: str, was: _Reach, now: _Reach) -> Iterator[str]:
    who = f"in namespace {pods[0]}, {_picked(json.loads(pods[1]))}"
    if not was.isolated:
        return
    if not now.isolated:
        yield f"{who} {_WORDS[direction]} anybody: no policy isolates them any more"
        return
    for peer, port in now.open:
        if not any(_peer_covers(a, peer) and _port_covers(b, port) for a, b in was.open):
            yield f"{who} {_WORDS[direction]} {_peer_shown(peer)}, {_port_shown(port)}"


def _reach(policies: list[Manifest], pods: Pods, direction: str) -> _Reach:
    reach = _Reach()
    for policy in policies:
        spec, (namespace, selector) = policy["spec"], _pods(policy)
        if namespace != pods[0] or selector not in (pods[1], _EVERY) or direction not in _types(spec):
            continue
        reach.isolated = True
        for rule in spec.get(direction.lower()) or ():
            peers, ports = rule.get(_PEERS[direction]) or ({},), rule.get("ports") or ({},)
            reach.open += [(peer, port) for peer in peers for port in ports]
    return reach


def _types(spec: Manifest) -> list[str]:
    return spec.get("policyTypes") or ["Ingress", *(["Egress"] if spec.get("egress") else [])]


def _pods(policy: Manifest) -> Pods:
    return policy["metadata"].get("namespace", ""), _shown(policy["spec"].get("podSelector") or {})


def _peer_covers(one: Manifest, other: Manifest) -> bool:
    if not one or one == other:
        return True
    if not other:
        return False
    if "ipBlock" in one or "ipBlock" in other:
        return "ipBlock" in one and "ipBlock" in other and _block_covers(one["ipBlock"], other["ipBlock"])
    # A peer without a namespaceSelector is of the policy's own namespace.
    spaces = ("namespaceSelector" in one) is ("namespaceSelector" in other)
    return spaces and all(
        _requirements(one.get(key)) <= _requirements(other.get(key)) for key in ("namespaceSelector", "podSelector")
    )


def _requirements(selector: Manifest | None) -> set[str]:
    """The fewer, the more is picked."""
    labels = ((selector or {}).get("matchLabels") or {}).items()
    return {f"{key}={value}" for key, value in labels} | {
        _shown(one) for one in (selector or {}).get("matchExpressions") or ()
    }


def _block_covers(one: Manifest, other: Manifest) -> bool:
    try:
        outer, inner = (ipaddress.ip_network(block["cidr"], strict=False) for block in (one, other))
        holes, kept = ([ipaddress.ip_network(x, strict=False) for x in b.get("except") or ()] for b in (one, other))
    except ValueError:
        return False
    if outer.version != inner.version or not inner.subnet_of(outer):  # ty: ignore[invalid-argument-type]
        return False
    return all(
        any(hole.subnet_of(still) for still in kept)  # ty: ignore[invalid-argument-type]
        for hole in holes
        if hole.overlaps(inner)
    )


def _port_covers(one: Manifest, other: Manifest) -> bool:
    if not one or one == other:
        return True
    if not other or one.get("protocol", "TCP") != other.get("protocol", "TCP"):
        return False
    if "port" not in one:
        return True
    low, high = one["port"], other.get("port")
    if not (isinstance(low, int) and isinstance(high, int)):
        return low == high
    return low <= high and other.get("endPort", high) <= one.get("endPort", low)


def _services(before: list[Manifest], after: list[Manifest]) -> Iterator[str]:
    """Services, and whatever routes to them, that somebody outside the cluster reaches now."""
    known = {(one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"]): one for one in before}
    for one in after:
        kind, name = one["kind"], one["metadata"]["name"]
        old = known.get((kind, one["metadata"].get("namespace"), name))
        was, now = (_outside(some) for some in (old, one))
        if now - was:
            yield f"{kind} {name} opens it to the outside: {', '.join(sorted(now - was))}"


def _outside(manifest: Manifest | None) -> set[str]:
    if manifest is None:
        return set()
    spec = manifest.get("spec") or {}
    if manifest["kind"] == "Ingress" or manifest["kind"].endswith("Route"):
        return {f"it routes to Services ({manifest['kind']})"}
    if manifest["kind"] != "Service":
        return set()
    outer = {spec["type"]} if spec.get("type") in ("NodePort", "LoadBalancer") else set()
    return outer | {f"externalIPs {address}" for address in spec.get("externalIPs") or ()}


def _shown(value: Manifest) -> str:
    return json.dumps(value, sort_keys=True)


def _peer_shown(peer: Manifest) -> str:
    if not peer:
        return "anybody"
    if block := peer.get("ipBlock"):
        holes = ", ".join(block.get("except") or ())
        return f"{block['cidr']}{f' but for {holes}' if holes else ''}"
    spaces = peer.get("namespaceSelector")
    where = "" if spaces is None else f" of namespaces {_labels(spaces)}" if spaces else " of every namespace"
    return f"{_picked(peer.get('podSelector') or {})}{where}"


def _picked(selector: Manifest) -> str:
    return f"pods {_labels(selector)}" if selector else "every pod"


def _labels(selector: Manifest) -> str:
    """As `kubectl get pods -l` takes them, as far as it can."""
    return ",".join(sorted(_requirements(selector)))


def _port_shown(port: Manifest) -> str:
    if "port" not in port:
        return f"any port of {port['protocol']}" if "protocol" in port else "any port"
    last = f"-{port['endPort']}" if "endPort" in port else ""
    return f"port {port['port']}{last}/{port.get('protocol', 'TCP')}"
