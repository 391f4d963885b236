"""The Fly.io app of a stack: its files. Fly itself is driven by flyctl and the scripts among them."""

import pulumi

from components.artifact import ArtifactFolder
from components.component import Component, StackArgs
from components.manifests.fly_config import fly_files
from components.manifests.fly_deploy import deploy_commands


class FlyAppArgs(StackArgs):
    """What the files are made from, and where they go."""

    folder: str
    """Folder of the stack's artifacts, e.g. `dist/dev`; the files stand in `fly/` below it."""


class FlyApp(Component):
    """fly.toml, Dockerfile, scripts and MCP configuration of the Fly app; `up` writes them, flyctl uses them."""

    paths: pulumi.Output[list[str]]
    """Paths of the files inside the folder."""
    commands: pulumi.Output[list[str]]
    """What deploys the app by flyctl, in order; Pulumi itself deploys nothing on Fly."""

    def __init__(self, name: str, args: FlyAppArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, args, opts)
        files = fly_files(self._settings)
        options = pulumi.ResourceOptions(parent=self)
        self.paths = ArtifactFolder(f"{name}-files", {"folder": args["folder"], "files": files}, options).paths
        self.commands = pulumi.Output.from_input(deploy_commands(self._settings, args["folder"]))
        self.register_outputs({"paths": self.paths, "commands": self.commands})
