"""A generated file as a resource: its diff stands in `pulumi preview`, and only `pulumi up` writes it."""

from pathlib import Path
from typing import Any, TypedDict

import pulumi

from components.output_folder import OutputFolder


class ArtifactFolderArgs(TypedDict):
    """What stands in the folder."""

    folder: str
    """Directory to write under; created when missing. Files of other hands in it are never touched."""
    files: dict[str, str]
    """Path inside the folder → content. What begins with `#!` is made executable."""


class ArtifactFolder(pulumi.ComponentResource):
    """Generated files, one resource each; a file that is no longer declared is removed by the next `up`."""

    paths: pulumi.Output[list[str]]
    """Paths of the files inside the folder."""

    def __init__(self, name: str, args: ArtifactFolderArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("purpleflea:index:ArtifactFolder", name, {}, opts)
        output = OutputFolder(Path(args["folder"]).resolve())

        def write(hook: pulumi.ResourceHookArgs) -> None:
            new = _input(hook.new_inputs)
            output.put(new["path"], new["content"])

        def prune(hook: pulumi.ResourceHookArgs) -> None:
            for path in sorted({*_input(hook.old_inputs)["files"]} - {*_input(hook.new_inputs)["files"]}):
                output.drop(path)

        written = pulumi.ResourceHook(f"write-{name}", write)
        pruned = pulumi.ResourceHook(f"prune-{name}", prune)
        for path, content in sorted(args["files"].items()):
            pulumi.Stash(
                f"{name}/{path}",
                input={"path": path, "content": content},
                opts=pulumi.ResourceOptions(
                    parent=self,
                    hooks=pulumi.ResourceHookBinding(after_create=[written], after_update=[written]),
                ),
            )
        pulumi.Stash(
            name,
            input={"files": sorted(args["files"])},
            opts=pulumi.ResourceOptions(parent=self, hooks=pulumi.ResourceHookBinding(after_update=[pruned])),
        )
        self.paths = pulumi.Output.from_input(sorted(args["files"]))
        self.register_outputs({"paths": self.paths})


def _input(inputs: Any) -> Any:
    return inputs["input"]
