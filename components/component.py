"""What all components have in common: checked settings, and children with explicit names that Pulumi tells apart."""

import re
from collections.abc import Mapping
from typing import Any, TypedDict, TypeVar, cast

import pulumi

from components.arguments import SettingsArgs
from components.manifests import naming, overrides
from components.manifests.naming import Manifest
from components.settings import Settings

R = TypeVar("R", bound=pulumi.CustomResource)

WRITTEN_BY_OTHERS: Mapping[str, tuple[str, ...]] = {
    "Job": ("spec.suspend", "metadata.finalizers"),  # the operator resumes a funded Job and removes the finalizer
    "APIService": ("spec.caBundle",),  # the metrics server's, or cert-manager's
    "Deployment": ("spec.replicas",),  # an autoscaler's
}
"""Kind → fields that somebody else writes once the object exists: Pulumi neither compares nor applies them, else a
`refresh` and the next `up` would suspend a running Job or take an autoscaler's pods away. What a manifest never carries
(annotations of the operator's, `status`) needs no line here: Pulumi compares only what was declared."""
_IF_ABSENT = ("spec.replicas",)
"""Ignored only where the manifest leaves them out, as it does for an autoscaler; else the stack sets them."""
_AWAIT = {"pulumi.com/waitFor": "jsonpath={.metadata.uid}"}
"""Pulumi would wait until a Job's work is done, and for ever on one that waits for its money; so it waits until the Job
exists. Not `pulumi.com/skipAwait`, which does not wait for a Job's deletion either: the operator must outlive the Jobs
that it settles, and a name must be free before it is used again."""


class StackArgs(TypedDict):
    """What a component is made from."""

    settings: SettingsArgs
    """The stack's settings, with the keys of `Pulumi.<stack>.yaml`; all are checked before anything is created."""


class Component(pulumi.ComponentResource):
    """Parent of one concern's resources.

    Its children are created after it and deleted before it, so what it depends on comes before them and goes after.
    """

    def __init__(self, name: str, args: StackArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(f"purpleflea:index:{type(self).__name__}", name, {}, opts)
        given: Any = args["settings"]
        self._settings = given if isinstance(given, Settings) else _checked(given)

    def _declare(
        self,
        kind: type[R],
        manifest: Manifest,
        *,
        after: list[pulumi.Resource] | None = None,
        delete_before_replace: bool = True,
        retain_on_delete: bool = False,
    ) -> R:
        """One resource from one manifest, below this component.

        Its real name is explicit, so a replacement must delete first, unless the name changes with the content.
        """
        opts = pulumi.ResourceOptions(
            parent=self,
            depends_on=after,
            delete_before_replace=delete_before_replace,
            retain_on_delete=retain_on_delete,
            ignore_changes=ignored_fields(manifest),
        )
        fields = {_snake(key): value for key, value in awaited(manifest).items()}
        return cast(Any, kind)(naming.logical_name(self._settings, manifest), opts=opts, **fields)


def _checked(given: Mapping[str, Any]) -> Settings:
    settings = Settings.parse(given, deployed=True)
    overrides.check(settings)
    return settings


def ignored_fields(manifest: Manifest) -> list[str]:
    """Paths of the object's fields that Pulumi leaves to others."""
    declared = {f"spec.{key}" for key in manifest.get("spec", {})}
    paths = WRITTEN_BY_OTHERS.get(manifest["kind"], ())
    return [path for path in paths if not (path in _IF_ABSENT and path in declared)]


def awaited(manifest: Manifest) -> Manifest:
    """The object as Pulumi is to await it: a Job until it exists, unless its own annotations say otherwise."""
    metadata = manifest["metadata"]
    annotations = metadata.get("annotations", {})
    if manifest["kind"] != "Job" or any(key.startswith("pulumi.com/") for key in annotations):
        return manifest
    return {**manifest, "metadata": {**metadata, "annotations": {**annotations, **_AWAIT}}}


def _snake(key: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", key).lower()
