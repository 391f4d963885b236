"""Manifests of a stack's own, beside ours."""

from importlib.metadata import version
from typing import Any

import pulumi

from components.component import Component, StackArgs, awaited, ignored_fields
from components.manifests import extra, kinds
from components.manifests.naming import Manifest

_FIRST = ("Namespace", "CustomResourceDefinition")
"""Kinds without which others of the same stack cannot be created."""


class ExtraManifestsArgs(StackArgs):
    """What they are made from."""

    manifests: list[dict[str, Any]]
    """Kubernetes objects, each with its `apiVersion`, `kind` and `metadata.name`."""


class ExtraManifests(Component):
    """Objects that the stack's own files declare, one resource each."""

    def __init__(self, name: str, args: ExtraManifestsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, args, opts)
        first = [self._object(one) for one in args["manifests"] if one["kind"] in _FIRST]
        for manifest in args["manifests"]:
            if manifest["kind"] not in _FIRST:
                self._object(manifest, first)
        self.register_outputs({})

    def _object(self, manifest: Manifest, after: list[pulumi.Resource] | None = None) -> pulumi.Resource:
        # By its type alone: a class of the SDK takes other keys, and that for custom resources no more than `spec`.
        api_version = manifest["apiVersion"]
        return pulumi.CustomResource(
            f"kubernetes:{api_version if kinds.group(api_version) else f'core/{api_version}'}:{manifest['kind']}",
            extra.logical_name(self._settings, manifest),
            awaited(manifest),
            pulumi.ResourceOptions(
                parent=self,
                depends_on=after,
                delete_before_replace=True,
                ignore_changes=ignored_fields(manifest),
                version=version("pulumi-kubernetes"),
            ),
        )
