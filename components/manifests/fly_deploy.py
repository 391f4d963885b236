"""The commands that put a stack's Fly files to work. Pulumi registers the files; deploying stays with flyctl."""

import shlex
from typing import Final

from components.settings import Settings

NOTE: Final = (
    "Pulumi writes the Fly files and deploys nothing: Machines, volumes and secrets belong to flyctl and its scripts, "
    "not to the Machines API, so `pulumi destroy` leaves them too"
)


def deploy_commands(settings: Settings, folder: str) -> list[str]:
    """In their order, to be run in the project's folder by somebody who is logged in to Fly; empty without an app.

    Args:
        settings: The stack's.
        folder: Of its artifacts, e.g. `dist/dev`.
    """
    fly = settings.fly
    if not (settings.enabled and fly.enabled):
        return []
    files = shlex.quote(f"{folder}/fly")
    escrow = _commands(settings, fly.escrow_app.app, f"{files}/escrow", " --ha=false") if fly.layers == "three" else []
    return [*escrow, *_commands(settings, fly.app, files), f"{files}/regions.sh --apply"]


def _commands(settings: Settings, app: str, files: str, options: str = "") -> list[str]:
    fly = settings.fly
    return [
        f"fly apps create {app}",
        f"{files}/secrets.sh",
        f"fly volumes create {fly.volume.name} --app {app} --region {fly.primary_region} --count 1"
        f" --size {fly.volume.size_gb} --snapshot-retention {fly.volume.snapshot_retention_days} --yes",
        f"fly deploy . --app {app} --config {files}/fly.toml{options}",
    ]
