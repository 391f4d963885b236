"""`python -m components.agent_job NAME`: one agent's Job, for teams that create Jobs from their own code.

The same as a library: `components.manifests.agent_job.build(settings, agent)`.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from components.errors import BadInput
from components.manifests import agent_job
from components.manifests.yaml_text import yaml_text
from components.settings import BadSettings
from components.stack_values import ROOT, StackValues
from runtime.contract import ExitCode

_OPTIONS = {
    "--task": ("task", "what to do"),
    "--image": ("image", "pinned image"),
    "--payee": ("payee", "agent id of who is paid"),
    "--budget-usdc": ("budgetUsdc", 'USDC for the run, e.g. "0.10"'),
    "--agent-id": ("agentId", "AGENT_ID of this agent"),
    "--escrow-id": ("escrowId", "an escrow that exists already and pays for this Job"),
}


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Print the manifest; an agent of that name in the stack is the base, the options change it."""
    parser = argparse.ArgumentParser(prog="python -m components.agent_job", description=__doc__)
    parser.add_argument("name", help="name of the agent, in the stack's settings or new")
    parser.add_argument("--stack", default="dev", help="name of the stack, as in Pulumi.<stack>.yaml (default: dev)")
    parser.add_argument("--format", choices=["yaml", "json"], default="yaml")
    for option, (key, text) in _OPTIONS.items():
        parser.add_argument(option, dest=key, help=text)
    options = parser.parse_args(arguments)
    try:
        values = StackValues.from_files(root, options.stack)
        known = {agent.name: agent for agent in values.settings().agents}
        base = known[options.name].model_dump(mode="json", by_alias=True) if options.name in known else {}
        given = {key: getattr(options, key) for key, _ in _OPTIONS.values() if getattr(options, key) is not None}
        alone = values.with_value("agents", json.dumps([{**base, "name": options.name, **given}])).settings()
    except (BadInput, BadSettings) as error:
        print(error, file=sys.stderr)
        return ExitCode.BAD_INPUT
    manifest = agent_job.build(alone, alone.agents[0])
    sys.stdout.write(json.dumps(manifest, indent=2) + "\n" if options.format == "json" else yaml_text(manifest))
    return ExitCode.OK


if __name__ == "__main__":
    sys.exit(main())
