"""Stacks as the engine hands them to the program: the repository's own, the examples, and some more."""

import json
from pathlib import Path

from components.stack_values import StackValues
from tests.components.stacks import EXAMPLES

ROOT = Path(__file__).parents[2]


def stack(**sections) -> StackValues:
    """A stack by its sections, as the engine hands them over."""
    given = {
        "sandbox": {"enabled": True},
        "credentials": {"existingSecret": ""},
        "images": {"allowTag": True, "runtime": "team/runtime:1"},
        **sections,
    }
    values = {f"purpleflea:{key}": v if isinstance(v, str) else json.dumps(v) for key, v in given.items()}
    return StackValues("purpleflea", "test", values)


def many_agents(count: int) -> StackValues:
    """A stack with so many agent Jobs."""
    return stack(agents=[{"name": f"agent-{n}", "task": f"Task number {n}"} for n in range(count)])


VARIANTS = {
    "dev": StackValues.from_files(ROOT, "dev"),
    "prod": StackValues.from_files(ROOT, "prod"),
    **{name: stack(**{"sandbox": {}, "credentials": {}, **mapping}) for name, mapping in EXAMPLES.items()},
    "no operator": stack(operator={"enabled": False}, networkPolicy={"enabled": False}),
    "no workers": stack(worker={"enabled": False}, createNamespace=False),
    "own replicas": stack(hpa={"enabled": False}, payroll={"enabled": False}),
    "two agents": stack(agents=[{"name": "nightly", "schedule": "0 3 * * *"}, {"name": "once"}]),
    "stable names": stack(job={"stableName": True}, retention={"keepEscrows": False}),
    "disabled": stack(enabled=False),
}
