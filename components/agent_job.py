"""`python -m components.agent_job NAME`: one agent's Job, for teams that create Jobs from their own code.

The agent is one of the stack's, or stands in a file with the keys of `agents[]` (`-f agent.yaml`).

The same as a library: `components.manifests.agent_job.build(settings, agent)`.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from components.errors import BadInput
from components.manifests import agent_job
from components.manifests.yaml_text import yaml_text
from components.settings import BadSettings
from components.stack_values import ROOT, StackValues, read_yaml
from runtime.contract import ExitCode

_OPTIONS = {
    "--task": ("task", "what to do"),
    "--image": ("image", "pinned image"),
    "--payee": ("payee", "agent id of who is paid"),
    "--budget-usdc": ("budgetUsdc", 'USDC for the run, e.g. "0.10"'),
    "--agent-id": ("agentId", "AGENT_ID of this agent"),
    "--escrow-id": ("escrowId", "an escrow that exists already and pays for this Job; its terms name its work"),
    "--work-id": ("workId", "the identity of its work, as the escrow's terms have it behind the namespace"),
}


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Print the manifest; the base is the agent in the file or the stack's of that name, and the options change it."""
    parser = argparse.ArgumentParser(prog="python -m components.agent_job", description=__doc__)
    parser.add_argument("name", nargs="?", help="name of the agent, in the stack's settings or new")
    parser.add_argument("-f", "--filename", type=Path, help="a YAML file with one agent, as in agents[]")
    parser.add_argument("--stack", default="dev", help="name of the stack, as in Pulumi.<stack>.yaml (default: dev)")
    parser.add_argument("--format", choices=["yaml", "json"], default="yaml")
    for option, (key, text) in _OPTIONS.items():
        parser.add_argument(option, dest=key, help=text)
    options = parser.parse_args(arguments)
    try:
        values = StackValues.from_files(root, options.stack)
        base = _in_file(options.filename) if options.filename else _in_stack(values, options.name)
        given = {key: getattr(options, key) for key, _ in _OPTIONS.values() if getattr(options, key) is not None}
        named = {"name": options.name} if options.name else {}
        alone = values.with_value("agents", json.dumps([{**base, **named, **given}])).settings()
    except (BadInput, BadSettings) as error:
        print(error, file=sys.stderr)
        return ExitCode.BAD_INPUT
    manifest = agent_job.build(alone, alone.agents[0])
    sys.stdout.write(json.dumps(manifest, indent=2) + "\n" if options.format == "json" else yaml_text(manifest))
    return ExitCode.OK


def _in_stack(values: StackValues, name: str | None) -> Mapping[str, Any]:
    agents = {agent.name: agent for agent in values.settings().agents}
    if not name:
        raise BadInput(f"name an agent, or give a file with -f; agents of the stack: {', '.join(agents) or 'none'}")
    return agents[name].model_dump(mode="json", by_alias=True) if name in agents else {}


def _in_file(path: Path) -> Mapping[str, Any]:
    found = read_yaml(path)
    if not isinstance(found, Mapping):
        raise BadInput(f"{path}: one agent is needed, a mapping of the keys of agents[]")
    return found


if __name__ == "__main__":
    sys.exit(main())
