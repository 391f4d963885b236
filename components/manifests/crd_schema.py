"""What the schemas of our definitions have in common: bounded texts, amounts, moments."""

from components.manifests.naming import Manifest
from components.settings.values import USDC_PATTERN


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
            "day": text(10, "UTC date on which it was locked."),
            "agent": {"type": "string", "maxLength": 253},
            "payee": {"type": "string", "maxLength": 253},
        },
    }
