"""A generated file as a resource: `pulumi preview` shows its diff, and only `pulumi up` writes it.

What counts is not what Pulumi recorded, but what stands on disk: at every run the program looks there, and a file that
is missing or different is a change. A file is written before its resource is recorded: a refused write is no success.
"""

import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypedDict

import pulumi

from components.errors import BadInput
from components.synth.output_folder import OutputFolder

_one_at_a_time = threading.Lock()


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
        files = dict(sorted(args["files"].items()))
        outdated = _outdated(output, files)
        hooks = self._hooks(name, output, files)
        for path, content in files.items():
            late = path in outdated
            pulumi.Stash(
                f"{name}/{path}",
                input={"path": path, "content": content, **({"written": _now()} if late else {})},
                opts=pulumi.ResourceOptions(
                    parent=self,
                    hooks=hooks,
                    # Where the file is as it should be, the time of the last write stays.
                    ignore_changes=[] if late else ["input.written"],
                ),
            )
        pulumi.Stash(name, input={"files": [*files]}, opts=pulumi.ResourceOptions(parent=self, hooks=hooks))
        self.paths = pulumi.Output.from_input([*files])
        self.register_outputs({"paths": self.paths})

    @staticmethod
    def _hooks(name: str, output: OutputFolder, files: dict[str, str]) -> pulumi.ResourceHookBinding:
        preview = pulumi.runtime.is_dry_run()

        def write(hook: pulumi.ResourceHookArgs) -> None:
            """In a preview each file is checked by itself; in `up`, one refusal stops all before any is written."""
            new, old = _input(hook.new_inputs), _input(hook.old_inputs)
            own = {new["path"]: new["content"]} if "path" in new else {}
            with _one_at_a_time:
                output.check(own if preview else files)
                if not preview:
                    output.change(own, [path for path in old.get("files", ()) if path not in files])

        written = pulumi.ResourceHook(f"write {name}", write, pulumi.ResourceHookOptions(on_dry_run=True))
        return pulumi.ResourceHookBinding(before_create=[written], before_update=[written])


def removal(folder: str) -> pulumi.ResourceHook:
    """A hook that removes every generated file of the folder, for `before_delete` of an `ArtifactFolder`.

    The engine runs it in the program, so `pulumi destroy` needs `--run-program`, and says so.
    """

    def remove(_: pulumi.ResourceHookArgs) -> None:
        OutputFolder(Path(folder).resolve()).replace({})

    return pulumi.ResourceHook(f"remove the files in {folder}", remove)


def _outdated(output: OutputFolder, files: dict[str, str]) -> list[str]:
    """Files that are not on disk as they should be; the hook, which can say so, refuses what cannot be read."""
    try:
        return output.outdated(files)
    except BadInput:
        return [*files]


def _now() -> str:
    """A value that differs at every run, so that the engine sees a change even where the same file is missing again."""
    return f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S.%f} UTC"


def _input(inputs: Any) -> Any:
    return inputs["input"] if inputs else {}
