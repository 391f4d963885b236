"""The rules as policies on a stack as Pulumi has it: what the policy pack in `policy/` asks of these objects."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from components.manifests.naming import Manifest
from components.rules import pods
from components.rules.money import Exposure, above, usdc
from components.rules.pairs import named, pair
from components.rules.widening import widened

_KUBERNETES = "kubernetes:"
_STACK = "pulumi:pulumi:Stack"
_OUTPUT = "agentConfig"
_LEFT_OUT = ("status", "data", "stringData", "binaryData")
"""Of an object: the cluster's own, and what may be secret. No rule looks at them."""


@dataclass(frozen=True, slots=True)
class Stack:
    """A stack's resources: its objects by URN, and the exposure that its outputs tell."""

    objects: Mapping[str, Manifest]
    exposure: Exposure

    @classmethod
    def of(cls, resources: Iterable[tuple[str, str, Any]]) -> "Stack":
        """From the URN, type and properties of each resource."""
        objects: dict[str, Manifest] = {}
        exposure = Exposure.unknown(f"the stack has no output {_OUTPUT}")
        for urn, kind, properties in resources:
            if manifest := manifest_of(kind, properties):
                objects[urn] = manifest
            elif kind == _STACK and _OUTPUT in properties:
                exposure = Exposure.read(plain(properties[_OUTPUT]))
        return cls(objects, exposure)


def manifest_of(kind: str, properties: Any) -> Manifest | None:
    """The object that a resource of Pulumi's is; None for a component, a file, or what is no object."""
    if not kind.startswith(_KUBERNETES) or not {"apiVersion", "kind", "metadata"} <= {*properties}:
        return None
    return {key: value for key in properties if key not in _LEFT_OUT and (value := plain(properties[key])) is not None}


def plain(value: Any) -> Any:
    """JSON as files have it, of what Pulumi hands over: floats alone, behind proxies that refuse what is unknown."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {key: plain(value[key]) for key in value}
    return [*map(plain, value)] if isinstance(value, Sequence) and not isinstance(value, str) else value


def restricted_pods(manifest: Manifest) -> list[str]:
    """Pods below the `restricted` level of Pod Security."""
    return [f"{named(manifest)} breaks the restricted level: {problem}" for problem in pods.unrestricted(manifest)]


def no_mutable_images(manifest: Manifest) -> list[str]:
    """Images that are not named by digest."""
    return [
        f"{named(manifest)}, container {container}: {image} is not named by digest, so another image may run tomorrow"
        for container, image in pods.images(manifest).items()
        if pods.is_mutable(image)
    ]


def exposure_within_cap(stack: Stack, cap_usdc: str) -> list[str]:
    """A maximum exposure above the cap, or one that nobody can tell."""
    cap = usdc(cap_usdc)
    if cap is None:
        return [f'capUsdc: {cap_usdc!r} is no amount; write it in quotes, with at most six decimals, e.g. "5.00"']
    found = above(stack.exposure, cap)
    return [found] if found else []


def nothing_wider(stack: Stack, baseline: Mapping[str, Manifest]) -> list[str]:
    """What is wider than in the baseline: objects of a stack as `make render` writes it."""
    return widened(pair(baseline, stack.objects))


EACH: Final[Mapping[str, Callable[[Manifest], list[str]]]] = {
    "restricted-pods": restricted_pods,
    "no-mutable-images": no_mutable_images,
}
"""Policy → what it finds wrong with one object."""
