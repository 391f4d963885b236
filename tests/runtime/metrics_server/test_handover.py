"""Turning the autoscaler on for workers that run: who owns `replicas` decides what becomes of them.

By kubectl, with the commands of docs/autoscaling.md; `pulumi up` is in tests/components/test_engine.py.
"""

import json
import re
from pathlib import Path

import pytest
from lightkube.resources.apps_v1 import Deployment

from components.manifests import agent_workers, naming
from components.settings import Settings
from tests.e2e.kubectl import Kubectl
from tests.toolchain.fixtures import require

PAGE = Path(__file__).parents[3] / "docs" / "autoscaling.md"


@pytest.fixture
def kubectl(namespace, tmp_path) -> Kubectl:
    program = require("control_plane", "kubectl")
    return Kubectl(program, namespace.cluster.kubeconfig, namespace.name, tmp_path)


def manifest(namespace, **more) -> str:
    given = {"namespace": namespace.name, "createNamespace": False, "sandbox": {"enabled": True}, **more}
    return json.dumps(agent_workers.deployment(Settings.parse(given)))


def by_hand(namespace) -> str:
    """The object that the page hands the field over with."""
    (block,) = re.findall(r"--field-manager=handover -f - <<EOF\n(.*?)\nEOF", PAGE.read_text(), re.DOTALL)
    return block.replace("agent-jobs", namespace.name)


@pytest.mark.parametrize("way", ["--server-side", ""])
@pytest.mark.parametrize(("handed_over", "left"), [(False, 1), (True, 7)])
def test_the_field_is_handed_over_before_it_is_left_out(namespace, kubectl, tmp_path, way, handed_over, left):
    apply = ("apply", *filter(None, [way]), "--filename", "-")
    kubectl(*apply, stdin=manifest(namespace, hpa={"enabled": False}, worker={"replicas": 7}))
    if handed_over and way:
        kubectl("apply", way, "--field-manager=handover", "--filename", "-", stdin=by_hand(namespace))
    elif handed_over:
        editor = tmp_path / "editor"
        editor.write_text("#!/bin/sh\nsed -i '/^ *replicas: 7$/d' \"$1\"\n")
        editor.chmod(0o755)
        kubectl("apply", "edit-last-applied", f"deployment/{naming.WORKERS}", editor=f"{editor}")
    kubectl(*apply, stdin=manifest(namespace))
    assert namespace.client.get(Deployment, naming.WORKERS).spec.replicas == left
