"""A person's word about calls that a sidecar's budget does not hold: said in the pod, because its books are there.

`kubectl exec` carries it: it knows every way to log in, and the API server decides who may get into that container.
"""

import argparse
import shutil
import subprocess
from typing import Final

from runtime.contract import MCP_PROXY_CONTAINER, ExitCode
from runtime.service import Failure

VERBS: Final = {
    "approvals": "list what an agent asked for beyond its budget, from its pod's MCP sidecar",
    "approve": "let one such call pass; the agent then makes it again, unchanged",
    "deny": "refuse it",
}
_PROGRAM: Final = ("python", "-m", "runtime.mcp_proxy.approvals")


def add_arguments(name: str, parser: argparse.ArgumentParser) -> None:
    """The pod, and which call."""
    parser.add_argument("pod", metavar="POD", help="the agent's pod")
    if name != "approvals":
        parser.add_argument("id", metavar="ID", help="as the agent was told, e.g. ap-1a2b3c4d")


def decide(args: argparse.Namespace) -> int:
    """Say it in the pod; what is answered there goes to the terminal. Returns kubectl's exit code.

    Raises:
        Failure: There is no kubectl.
    """
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        raise Failure("kubectl is not on the PATH, and only it can reach into the pod", ExitCode.BAD_INPUT)
    where = ["--namespace", args.namespace] if args.namespace else []
    said = ["list"] if args.verb == "approvals" else [args.verb, args.id]
    command = [kubectl, "exec", *where, args.pod, "--container", MCP_PROXY_CONTAINER, "--", *_PROGRAM, *said]
    return subprocess.run(command, check=False).returncode
