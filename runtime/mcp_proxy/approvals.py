"""`python -m runtime.mcp_proxy.approvals`: a person's word about calls that a budget does not hold.

    kubectl exec POD -c pf-mcp-proxy -- python -m runtime.mcp_proxy.approvals list
    kubectl exec POD -c pf-mcp-proxy -- python -m runtime.mcp_proxy.approvals approve ap-1a2b3c4d

It needs no network and no key: it writes into the sidecar's books, which the agent's container cannot reach.
"""

import argparse
import sys

from runtime.errors import BadInput
from runtime.mcp_proxy.settings import StateSettings
from runtime.service import Kind, Program, Start


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb, and the approval's id."""
    parser.add_argument("verb", choices=("list", "approve", "deny"))
    parser.add_argument("id", nargs="?", help="as the agent was told, e.g. ap-1a2b3c4d")


def run(start: Start[StateSettings]) -> None:
    """List or decide."""
    from runtime.mcp_proxy.budgets import Ledger

    verb, approval_id = start.arguments.verb, start.arguments.id
    if start.settings.directory is None:
        raise BadInput("PF_MCP_STATE_DIRECTORY is not set: run this where the sidecar runs, by kubectl exec")
    if (verb == "list") == bool(approval_id):
        raise BadInput(f"{verb} takes {'no id' if verb == 'list' else 'an id, which `list` shows'}")
    ledger = Ledger(start.settings.directory, create=False)
    shown = ledger.approvals() if verb == "list" else [ledger.decide(approval_id, approve=verb == "approve")]
    for each in shown:
        sys.stdout.write(f"{each.id}  {each.state:8}  {each.tool}  {each.what}\n")
    ledger.close()


PROGRAM = Program(
    "python -m runtime.mcp_proxy.approvals",
    "Lists, approves or denies the calls that wait for a person.",
    StateSettings,
    run,
    kind=Kind.COMMAND,
    add_arguments=add_arguments,
)

if __name__ == "__main__":
    sys.exit(PROGRAM.main())
