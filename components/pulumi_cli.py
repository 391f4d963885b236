"""The Pulumi CLI: the one that is installed, or one fetched or built for this project."""

import importlib
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


def find(folder: Path) -> PulumiCommand:
    """The CLI on the PATH; else one that was put below `folder` before; else, if it may be, a new one there.

    Raises:
        BadInput: there is none and none could be had, or it is too old; the message says what to do.
    """
    try:
        if shutil.which("pulumi"):
            return PulumiCommand(version=OLDEST)
        if (folder / "bin" / "pulumi").exists():
            return PulumiCommand(root=str(folder), version=OLDEST)
    except InvalidVersionError as error:
        raise BadInput(f"the Pulumi CLI is too old, {OLDEST} or newer is needed: {error}") from error
    reasons = ["no `pulumi` on the PATH"]
    for attempt in (_built_already, lambda reasons: _installed(folder, reasons), _built):
        if command := attempt(reasons):
            return command
    raise BadInput(
        f"no Pulumi CLI: {'; '.join(reasons)}. Install it (https://www.pulumi.com/docs/install/), "
        f"or set {INSTALL}=1 to let Pulumi's own installer do it; `make render` needs none"
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


def _built_already(reasons: list[str]) -> PulumiCommand | None:
    if (tools := _toolchain(reasons)) is None:
        return None
    try:
        found, refused = tools.present(tools.TOOLS["pulumi"])
    except tools.Missing as error:
        found, refused = None, [str(error)]
    reasons.extend(refused)
    return _at(found.path) if found else None


def _built(reasons: list[str]) -> PulumiCommand | None:
    if (tools := _toolchain([])) is None:
        return None
    try:
        return _at(tools.find("pulumi").path)
    except tools.Missing as error:
        reasons.append(str(error))
        return None


def _toolchain(reasons: list[str]):  # noqa: ANN202 - a module of the tests, which an installed copy need not have
    try:
        return importlib.import_module("tests.toolchain.tools")
    except ImportError as error:
        reasons.append(f"no toolchain to build it with ({error})")
        return None


def _at(path: Path) -> PulumiCommand:
    os.environ["PATH"] = f"{path.parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return PulumiCommand(version=OLDEST)
