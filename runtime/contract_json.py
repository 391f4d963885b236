"""`python -m runtime.contract_json`: the contract as JSON, for programs in other languages.

Constants by their names in lower camel case, enumerations as objects of their members. A new name in
`runtime/contract.py` is in the JSON by itself.
"""

import json
import sys
from enum import Enum
from types import ModuleType
from typing import Any

from runtime import contract
from runtime.service import Kind, NoSettings, Program, Start


def contract_json() -> dict[str, Any]:
    """Every public name of the contract with its value."""
    found = {name: _value(value) for name, value in vars(contract).items() if _is_public(name, value)}
    return {_camel(name) if name.isupper() else name: value for name, value in sorted(found.items())}


def _is_public(name: str, value: Any) -> bool:
    own_enum = isinstance(value, type) and issubclass(value, Enum) and value.__module__ == contract.__name__
    return own_enum or (name.isupper() and not name.startswith("_") and not isinstance(value, ModuleType))


def _value(value: Any) -> Any:
    if isinstance(value, type):
        return {name: member.value for name, member in value.__members__.items()}
    if isinstance(value, tuple):
        return [str(item) for item in value]
    return dict(value) if isinstance(value, dict) else value


def _camel(name: str) -> str:
    first, *rest = name.lower().split("_")
    return first + "".join(part.title() for part in rest)


def run(_: Start[NoSettings]) -> None:
    """Print it."""
    sys.stdout.write(json.dumps(contract_json(), indent=2) + "\n")


PROGRAM = Program(
    "python -m runtime.contract_json",
    "Prints the contract as JSON, for programs in other languages.",
    NoSettings,
    run,
    Kind.COMMAND,
)

if __name__ == "__main__":
    sys.exit(PROGRAM.main())
