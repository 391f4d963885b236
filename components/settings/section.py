"""What all sections of the settings have in common."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator
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
        # "yes" is no flag and true is no number: what counts is what Kubernetes and the Helm schema take too.
        strict=True,
    )

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, given: Any) -> Any:
        """Where a section is given in part, the rest is the default of the field that holds it."""
        if not isinstance(given, Mapping):
            return given
        defaults = {key: info.default for name, info in cls.model_fields.items() for key in (name, info.alias)}
        partial = {key for key, value in given.items() if isinstance(value, Mapping)}
        return {
            key: _merged(defaults[key], value) if key in partial and isinstance(defaults.get(key), Section) else value
            for key, value in given.items()
        }


def _merged(default: Any, given: Any) -> Any:
    if not (isinstance(default, Section) and isinstance(given, Mapping)):
        return given
    names = {str(info.alias): name for name, info in type(default).model_fields.items()}
    inherited = {alias: getattr(default, name) for alias, name in names.items() if name not in given}
    # By either name, as in the models: a wrong key has no default, and is refused as such.
    own = {key: getattr(default, names.get(key, key), None) for key in given}
    return inherited | {key: _merged(own[key], value) for key, value in given.items()}


def _optional_keys(schema: dict[str, Any]) -> None:
    """What is left out is inherited from the default of the section."""
    schema.pop("required", None)


class Amounts(Section):
    """CPU and memory of one container."""

    model_config = ConfigDict(json_schema_extra=_optional_keys)

    cpu: Cpu
    """Cores (`1`) or thousandths of a core (`250m`)."""
    memory: Memory
    """Bytes with a unit, e.g. `64Mi`."""


class Resources(Section):
    """What a container is promised and what it is held to; a request never exceeds its limit."""

    model_config = ConfigDict(json_schema_extra=_optional_keys)

    requests: Amounts
    """What the scheduler reserves."""
    limits: Amounts
    """Where CPU is throttled and memory kills."""


def resources(cpu_request: str, memory_request: str, cpu_limit: str, memory_limit: str) -> Resources:
    """Defaults in one line."""
    return Resources(
        requests=Amounts(cpu=cpu_request, memory=memory_request), limits=Amounts(cpu=cpu_limit, memory=memory_limit)
    )


class ScalingRule(Section):
    """How fast an autoscaler may go in one direction."""

    model_config = ConfigDict(json_schema_extra=_optional_keys)

    stabilization_seconds: Annotated[int, Field(ge=0, le=3600)]
    """Of all that was wanted in this time the gentlest change is made."""
    pods: Annotated[int, Field(ge=1, le=1000)]
    """Most workers that are added, or taken away, in one period."""
    period_seconds: Annotated[int, Field(ge=1, le=1800)]
    """How long a period is."""


def scaling_rule(stabilization_seconds: int, pods: int, period_seconds: int) -> ScalingRule:
    """A rule as a default."""
    return ScalingRule(stabilization_seconds=stabilization_seconds, pods=pods, period_seconds=period_seconds)
