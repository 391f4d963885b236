"""The policy pack: `components/rules` asked of a stack while Pulumi previews or changes it (docs/pull-requests.md).

Pulumi runs this file in the pack's own virtual environment; the rules are those of the clone that it stands in.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from pulumi_policy import (
    EnforcementLevel,
    PolicyConfigSchema,
    PolicyPack,
    ReportViolation,
    ResourceValidationArgs,
    ResourceValidationPolicy,
    StackValidationArgs,
    StackValidationPolicy,
)

from components.diff_report.rendered import Rendered
from components.rules import policies


def of_each(name: str) -> ResourceValidationPolicy:
    """A policy on each object; it stops an object before it is created."""

    def validate(args: ResourceValidationArgs, report: ReportViolation) -> None:
        manifest = policies.manifest_of(args.resource_type, args.props)
        for violation in policies.EACH[name](manifest) if manifest else ():
            report(violation)

    return ResourceValidationPolicy(name, str(policies.EACH[name].__doc__), validate)


def stack_of(args: StackValidationArgs) -> policies.Stack:
    """The objects and the exposure of the stack."""
    return policies.Stack.of((one.urn, one.resource_type, one.props) for one in args.resources)


def given(args: StackValidationArgs, name: str, report: ReportViolation) -> str:
    """A value of the pack's configuration; a violation where it is missing.

    It is no `required` one: Pulumi wants those of a policy that is disabled, too.
    """
    found = args.get_config().get(name, "")
    if not found:
        report(f"{name} is not set: set it in the pack's configuration, or disable the policy there")
    return found


def exposure(args: StackValidationArgs, report: ReportViolation) -> None:
    """Holds the stack's maximum exposure against `capUsdc`."""
    if cap := given(args, "capUsdc", report):
        for violation in policies.exposure_within_cap(stack_of(args), cap):
            report(violation)


def nothing_wider(args: StackValidationArgs, report: ReportViolation) -> None:
    """Holds the stack against `baseline`, a folder that `make render` wrote of what is deployed."""
    if not (path := given(args, "baseline", report)):
        return
    folder = Path(path)
    baseline = Rendered.read(folder)
    for problem in [
        *baseline.problems,
        *([] if baseline.objects else [f"{folder.resolve()}: there is no rendered stack"]),
    ]:
        report(f"baseline: {problem}")
    for violation in policies.nothing_wider(stack_of(args), baseline.objects):
        report(violation)


def text(description: str) -> dict[str, dict[str, str]]:
    """The schema of one text."""
    return {"type": "string", "description": description}


PolicyPack(
    name="purpleflea",
    enforcement_level=EnforcementLevel.MANDATORY,
    policies=[
        *map(of_each, policies.EACH),
        StackValidationPolicy(
            "exposure-within-cap",
            str(policies.exposure_within_cap.__doc__),
            exposure,
            config_schema=PolicyConfigSchema({"capUsdc": text("USDC, fees included")}),
        ),
        StackValidationPolicy(
            "nothing-wider",
            str(policies.nothing_wider.__doc__),
            nothing_wider,
            config_schema=PolicyConfigSchema({"baseline": text("folder of the stack as rendered before")}),
        ),
    ],
)
