"""Which namespaces a program serves: `PF_WATCH_NAMESPACE`, names or a selector of their labels."""

from dataclasses import dataclass
from typing import Final, Self

from runtime.contract import Env
from runtime.errors import BadInput
from runtime.kubernetes.client import KubernetesApi
from runtime.kubernetes.listing import Listing
from runtime.kubernetes.shape import NAMED

_SELECTOR: Final = "selector:"


@dataclass(frozen=True, slots=True)
class Watched:
    """The namespaces.

    Args:
        names: By name; empty where a selector picks them.
        selector: A label selector; empty where they are named.
    """

    names: tuple[str, ...] = ()
    selector: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """What the variable says: a namespace, `a,b,c`, or `selector:team=agents`. Raises `BadInput` for nothing."""
        if text.startswith(_SELECTOR):
            found = cls(selector=text.removeprefix(_SELECTOR).strip())
        else:
            found = cls(names=tuple(name.strip() for name in text.split(",") if name.strip()))
        if not (found.names or found.selector):
            raise BadInput(f"{Env.WATCH_NAMESPACE} names nothing: expected a namespace, a,b,c or selector:team=agents")
        return found

    async def namespaces(self, api: KubernetesApi) -> tuple[str, ...]:
        """Their names, those that a selector picks as of now."""
        if self.names:
            return self.names
        found = Listing(api, "/api/v1/namespaces", NAMED, {"labelSelector": self.selector}, only_metadata=True)
        return tuple(sorted([namespace.metadata.name async for namespace in found]))
