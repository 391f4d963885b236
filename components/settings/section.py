"""What all sections of the settings have in common."""

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from components.settings.values import Cpu, Memory


class Section(BaseModel):
    """A frozen group of settings: camelCase in files, snake_case in Python, unknown keys are errors.

    The text under a field is its description in the documentation, in `Pulumi.yaml` and in the Helm schema.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        use_attribute_docstrings=True,
        validate_default=False,
    )


class Amounts(Section):
    """CPU and memory of one container."""

    cpu: Cpu
    """Cores (`1`) or thousandths of a core (`250m`)."""
    memory: Memory
    """Bytes with a unit, e.g. `64Mi`."""


class Resources(Section):
    """What a container is promised and what it is held to; a request never exceeds its limit."""

    requests: Amounts
    """What the scheduler reserves."""
    limits: Amounts
    """Where CPU is throttled and memory kills."""


def resources(cpu_request: str, memory_request: str, cpu_limit: str, memory_limit: str) -> Resources:
    """Defaults in one line."""
    return Resources(
        requests=Amounts(cpu=cpu_request, memory=memory_request), limits=Amounts(cpu=cpu_limit, memory=memory_limit)
    )
