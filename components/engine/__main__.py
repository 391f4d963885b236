"""`python -m components.engine preview|up|destroy`: the real engine, with no set-up, by Pulumi's Automation API.

Where a backend is configured it is used, and the project's own stack files. Where none is, the state lies in
`.pulumi/` beside the program, encrypted with a passphrase that is made there once.
"""

import argparse
import os
import secrets
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pulumi import automation

from components.engine import pulumi_cli
from components.engine.program import run_program
from components.engine.summary import summary
from components.errors import BadInput
from components.outputs import LETTING_GO, NEXT, RETAINED
from components.settings import BadSettings
from components.stack_values import PROJECT_FILE, ROOT, StackValues
from runtime.contract import ExitCode

LOCAL = ROOT / ".pulumi"
_PASSPHRASES = ("PULUMI_CONFIG_PASSPHRASE", "PULUMI_CONFIG_PASSPHRASE_FILE")
_KEPT = ("encryptionsalt", "secretsprovider", "encryptedkey")
"""What Pulumi itself writes into a stack file."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one operation; 2 for what only the user can mend, 1 when the engine reports a failure."""
    parser = argparse.ArgumentParser(prog="python -m components.engine", description=__doc__)
    parser.add_argument("operation", choices=["preview", "up", "destroy"])
    parser.add_argument("--stack", default="dev", help="name of the stack, as in Pulumi.<stack>.yaml (default: dev)")
    parser.add_argument("--yes", action="store_true", help="change a cluster without asking")
    options = parser.parse_args(arguments)
    try:
        values = StackValues.from_files(ROOT, options.stack)
        settings = values.settings()
        if options.operation != "destroy":
            _say(f"{summary(settings)}\n")
        stack = select(values)
        asks = not options.yes and (options.operation == "destroy" or settings.target == "cluster")
        if options.operation != "preview" and asks and not _agreed(stack, options.operation, values):
            return ExitCode.FAILED
        return _run(stack, options.operation)
    except (BadInput, BadSettings) as error:
        print(error, file=sys.stderr)
        return ExitCode.BAD_INPUT


def select(values: StackValues, root: Path = ROOT, local: Path = LOCAL) -> automation.Stack:
    """The stack on the configured backend, or on a local one; made there if it is new."""
    environment = {"PULUMI_SKIP_UPDATE_CHECK": "1"}
    work_dir = root
    command = pulumi_cli.find(local / "cli")
    if not _backend_is_configured(root):
        (local / "state").mkdir(parents=True, exist_ok=True)
        environment["PULUMI_BACKEND_URL"] = (local / "state").as_uri()
        work_dir = _local_project(root, local, values.stack)
        if not any(name in os.environ for name in _PASSPHRASES):
            environment["PULUMI_CONFIG_PASSPHRASE_FILE"] = str(_passphrase(local))
    workspace = automation.LocalWorkspaceOptions(work_dir=str(work_dir), env_vars=environment, pulumi_command=command)
    try:
        return automation.create_or_select_stack(values.stack, values.project, run_program, opts=workspace)
    except automation.CommandError as error:
        raise BadInput(f"the stack cannot be opened: {_last_words(error)}") from error


def _backend_is_configured(root: Path) -> bool:
    home = Path(os.environ.get("PULUMI_HOME", Path.home() / ".pulumi"))
    credentials = home / "credentials.json"
    logged_in = credentials.exists() and (yaml.safe_load(credentials.read_text()) or {}).get("current")
    project = yaml.safe_load((root / PROJECT_FILE).read_text())
    return bool(os.environ.get("PULUMI_BACKEND_URL") or logged_in or project.get("backend"))


def _local_project(root: Path, local: Path, stack: str) -> Path:
    """A copy of the project's files for the local backend, so that its salt never dirties files that are shared."""
    folder = local / "work" / stack
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(root / PROJECT_FILE, folder)
    name = f"Pulumi.{stack}.yaml"
    given = yaml.safe_load((root / name).read_text()) or {}
    before = (yaml.safe_load((folder / name).read_text()) or {}) if (folder / name).exists() else {}
    kept = {key: before[key] for key in _KEPT if key in before}
    (folder / name).write_text(yaml.safe_dump({**kept, **given}))
    return folder


def _passphrase(local: Path) -> Path:
    path = local / "passphrase"
    if not path.exists():
        with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(32))
        print(f"made {path}: it decrypts this machine's Pulumi state; keep it with the state", file=sys.stderr)
    return path


def _agreed(stack: automation.Stack, operation: str, values: StackValues) -> bool:
    if not sys.stdin.isatty():
        raise BadInput(f"`{operation}` changes {_cluster(values)} and there is nobody to ask; YES=1 goes ahead")
    if operation == "up" and _run(stack, "preview") != ExitCode.OK:
        return False
    answer = input(f"{operation} stack {values.stack!r} on {_cluster(values)}? Type the stack's name to go ahead: ")
    return answer.strip() == values.stack


def _cluster(values: StackValues) -> str:
    """The cluster that the Kubernetes provider will talk to, as a person knows it."""
    if context := values.values.get("kubernetes:context"):
        return f"cluster {context!r} (kubernetes:context)"
    path = Path(os.environ.get("KUBECONFIG", "").split(os.pathsep)[0] or Path.home() / ".kube" / "config")
    try:
        return f"cluster {yaml.safe_load(path.read_text())['current-context']!r} ({path})"
    except (OSError, KeyError, TypeError, yaml.YAMLError):
        return "the cluster of this environment"


def _run(stack: automation.Stack, operation: str) -> int:
    before = _outputs(stack)
    # The program runs in `destroy` too, because it removes the files that it wrote.
    how = {"preview": {"diff": True}, "up": {"suppress_outputs": True}, "destroy": {"run_program": True}}[operation]
    try:
        getattr(stack, operation)(on_output=_say, on_error=lambda text: print(text, file=sys.stderr), **how)
    except automation.ConcurrentUpdateError:
        raise BadInput(f"another update of {stack.name!r} is running; wait, or `pulumi cancel` if it died") from None
    except automation.CommandError:  # the engine has said why, line by line
        if operation == "destroy":
            _tell("Where a Job is not settled and so not deleted", before.get(LETTING_GO))
        return ExitCode.FAILED
    if operation == "up":
        _tell("What to look at next", _outputs(stack).get(NEXT))
    if operation == "destroy":
        _tell("What is left, and how to let go of it", before.get(RETAINED))
    return ExitCode.OK


def _outputs(stack: automation.Stack) -> dict[str, Any]:
    return {name: output.value for name, output in stack.outputs().items()}


def _tell(title: str, rows: Mapping[str, Any] | None) -> None:
    if not rows:
        return
    _say(f"\n{title}:")
    for name, value in rows.items():
        if value:
            _say(f"  {name:<8} {', '.join(value) if isinstance(value, list) else value}")


def _say(text: str) -> None:
    print(text, flush=True)  # progress, also where standard output is a pipe


def _last_words(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    said = next((line for line in reversed(lines) if "error:" in line), lines[-1] if lines else "")
    return said.rpartition("error:")[2].strip()


if __name__ == "__main__":
    sys.exit(main())
