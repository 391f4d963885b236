"""Turning the autoscaler on for workers that run: who owns `replicas` decides what becomes of them."""

import pytest
from lightkube.resources.apps_v1 import Deployment
from lightkube.types import PatchType

from components.manifests import agent_workers, naming
from components.settings import Settings


@pytest.mark.parametrize(("handed_over", "left"), [(False, 1), (True, 7)])
def test_the_field_is_handed_over_before_it_is_left_out(namespace, handed_over, left):
    def manifest(**more) -> Deployment:
        given = {"namespace": namespace.name, "createNamespace": False, "sandbox": {"enabled": True}, **more}
        return Deployment.from_dict(agent_workers.deployment(Settings.parse(given)))

    fixed = manifest(hpa={"enabled": False}, worker={"replicas": 7})
    namespace.client.apply(fixed, field_manager="stack", force=True)
    if handed_over:
        alone = {"metadata": {"name": naming.WORKERS, "namespace": namespace.name}, "spec": {"replicas": 7}}
        body = {"apiVersion": "apps/v1", "kind": "Deployment", **alone}
        namespace.client.patch(Deployment, naming.WORKERS, body, patch_type=PatchType.APPLY, field_manager="handover")
    scaled = manifest()
    assert scaled.spec.replicas is None
    namespace.client.apply(scaled, field_manager="stack", force=True)
    assert namespace.client.get(Deployment, naming.WORKERS).spec.replicas == left
