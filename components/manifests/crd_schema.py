"""What our definitions have in common: all around the schema, and in it bounded texts, amounts, moments."""

from collections.abc import Sequence

from components.manifests.naming import Manifest, metadata
from components.settings import Settings
from components.settings.values import USDC_PATTERN
from runtime.contract import ESCROW_GROUP, ESCROW_VERSION


def definition(
    settings: Settings,
    kind: str,
    plural: str,
    schema: Manifest,
    columns: Sequence[Manifest],
    *,
    short_names: Sequence[str] = (),
    selectable: Sequence[str] = (),
) -> Manifest:
    """The definition of one of our kinds, served and stored in one version with a status subresource."""
    names: Manifest = {"kind": kind, "listKind": f"{kind}List", "plural": plural, "singular": kind.lower()}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": metadata(settings, f"{plural}.{ESCROW_GROUP}", namespace=None),
        "spec": {
            "group": ESCROW_GROUP,
            "scope": "Namespaced",
            "names": names | ({"shortNames": [*short_names]} if short_names else {}),
            "versions": [
                {
                    "name": ESCROW_VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [*columns],
                    **({"selectableFields": [{"jsonPath": path} for path in selectable]} if selectable else {}),
                    "schema": {"openAPIV3Schema": schema},
                }
            ],
        },
    }


def text(longest: int, description: str = "") -> Manifest:
    """A text that is not empty."""
    found: Manifest = {"type": "string", "minLength": 1, "maxLength": longest}
    return found | ({"description": description} if description else {})


def amount(description: str) -> Manifest:
    """An amount of USDC."""
    return {"type": "string", "pattern": USDC_PATTERN, "maxLength": 16, "description": description}


def time() -> Manifest:
    """A moment."""
    return {"type": "string", "format": "date-time", "maxLength": 40}


def reservation() -> Manifest:
    """What is reserved for one Escrow: in the Escrow, and in the Budget while it is on no Escrow yet."""
    return {
        "type": "object",
        "description": "What is reserved in the namespace's Budget.",
        "required": ["id", "amountUsdc", "day"],
        "properties": {
            "id": text(64),
            "amountUsdc": amount("USDC."),
            "day": text(10, "Date on which it was locked, by the stack's time zone."),
            "agent": {"type": "string", "maxLength": 253},
            "payee": {"type": "string", "maxLength": 253},
        },
    }
