"""The Pulumi CLI: the one that is installed, one that the caller hands over, or one that Pulumi's installer fetches."""

import os
import shutil
import sys
from pathlib import Path

from pulumi.automation import PulumiCommand
from pulumi.automation.errors import InvalidVersionError
from semver import VersionInfo

from components.errors import BadInput

OLDEST = VersionInfo(3, 208)
"""Resource hooks, which write generated files, came with it."""
INSTALL = "PULUMI_INSTALL"
"""Set to 1 to let Pulumi's own installer fetch the CLI without asking."""
HANDED_OVER = "PULUMI_CLI"
"""Path of a CLI to take where none is on the PATH; `make` sets it to the one that `make toolchain` has built."""


def find(folder: Path) -> PulumiCommand:
    """The CLI on the PATH; else the one handed over; else one that was put below `folder` before, or is put there now.

    Raises:
        BadInput: there is none and none could be had, or it is too old; the message says what to do.
    """
    try:
        if shutil.which("pulumi"):
            return PulumiCommand(version=OLDEST)
        if handed_over := os.environ.get(HANDED_OVER):
            return _at(Path(handed_over))
        if (folder / "bin" / "pulumi").exists():
            return PulumiCommand(root=str(folder), version=OLDEST)
    except InvalidVersionError as error:
        raise BadInput(f"the Pulumi CLI is too old, {OLDEST} or newer is needed: {error}") from error
    reasons = ["no `pulumi` on the PATH"]
    if command := _installed(folder, reasons):
        return command
    raise BadInput(
        f"no Pulumi CLI: {'; '.join(reasons)}. Install it (https://www.pulumi.com/docs/install/), "
        f"set {INSTALL}=1 to let Pulumi's own installer do it, or build it with `make toolchain` where Go is; "
        "`make render` needs none"
    )


def _installed(folder: Path, reasons: list[str]) -> PulumiCommand | None:
    if not _consent():
        reasons.append(f"{INSTALL}=1 is not set")
        return None
    print(f"installing the Pulumi CLI below {folder} with Pulumi's own installer ...", file=sys.stderr)
    try:
        return PulumiCommand.install(root=str(folder))
    except Exception as error:  # the installer raises whatever the network and the shell do
        reasons.append(f"Pulumi's installer failed ({type(error).__name__}: {error})")
        return None


def _consent() -> bool:
    if INSTALL in os.environ or not sys.stdin.isatty():
        return os.environ.get(INSTALL) == "1"
    return input("There is no Pulumi CLI. Download it with Pulumi's own installer? [y/N] ").strip().lower() == "y"


def _at(path: Path) -> PulumiCommand:
    os.environ["PATH"] = f"{path.parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return PulumiCommand(version=OLDEST)
