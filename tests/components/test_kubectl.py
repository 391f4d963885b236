"""The lines of a rendered stack's README on a real API server, word for word: applied, changed, switched off, gone."""

import json
import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

from components.synth.output_folder import OutputFolder
from components.synth.rendering import render
from tests.components.variants import stack
from tests.toolchain import waiting
from tests.toolchain.fixtures import require

# No operator runs here, so no Job is held; no pod runs either, so the API services stay without an answer.
PARTS = {"operator": {"enabled": False}, "mcp": {"enabled": False}}
NAMESPACE = "agent-jobs"


class Deployed:
    """A stack's files and the kubectl of somebody who follows their README."""

    def __init__(self, cluster, folder, home):
        self.folder = folder
        self.environment = {"PATH": os.environ["PATH"], "HOME": str(home), "KUBECONFIG": str(cluster.kubeconfig)}
        self.kubectl = require("controlplane", "kubectl")

    def render(self, **sections):
        """Write the stack's files."""
        OutputFolder(self.folder).replace(render(stack(**PARTS, **sections)))

    def follow(self, section):
        """Run the commands below a heading of the README."""
        readme = (self.folder / "README.md").read_text()
        for line in re.search(rf"## {section}\n.*?```sh\n(.*?)```", readme, re.S)[1].splitlines():
            words = shlex.split(line, comments=True)
            if words[0] == "export":
                self.environment.update([words[1].split("=")])
            elif words[0] == "until":
                path = f"{Path(self.kubectl).parent}:{os.environ['PATH']}"
                loop = ["timeout", "60", "sh", "-c", line]
                subprocess.run(loop, cwd=self.folder, env={**self.environment, "PATH": path}, check=True)
            else:
                assert words[0] == "kubectl"
                self.run(*words[1:], "--timeout=60s" if words[1] == "delete" else "--v=0")

    def run(self, *words):
        """What kubectl prints; whatever it refuses fails the test."""
        done = subprocess.run(
            [self.kubectl, *words],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, f"kubectl {' '.join(words)}\n{done.stdout}{done.stderr}"
        return done.stdout

    def names(self, *kinds):
        """Kind and name of what is there and not on its way out."""
        found = json.loads(self.run("get", ",".join(kinds), "-A", "-o", "json"))["items"]
        return {
            f"{one['kind']}/{one['metadata']['name']}" for one in found if "deletionTimestamp" not in one["metadata"]
        }


@pytest.fixture(scope="module")
def deployed(spare_control_plane, tmp_path_factory):
    """A control plane of its own, since a stack's removal takes the definition of the accounts away."""
    return Deployed(spare_control_plane, tmp_path_factory.mktemp("dist") / "test", tmp_path_factory.mktemp("home"))


RIGHTS = (
    "clusterroles",
    "clusterrolebindings",
    "roles",
    "rolebindings",
    "serviceaccounts",
    "networkpolicies",
    "services",
)


def test_a_stack_is_applied_changed_switched_off_and_taken_away_by_its_readme(deployed):
    deployed.render()
    deployed.follow("Apply")
    [first] = deployed.names("jobs")
    assert "APIService/v1beta2.custom.metrics.k8s.io" in deployed.names("apiservices")

    deployed.render(agents=[{"name": "pf-agent-job", "task": "another"}])
    deployed.follow("Apply")
    [second] = deployed.names("jobs")
    assert second != first, "the agent has changed, so it is new work"

    deployed.follow("Apply")
    assert deployed.names("jobs") == {second}, "nothing has changed, so nothing is done again"

    deployed.render(agents=[{"name": "pf-agent-job", "task": "another"}], worker={"enabled": False})
    deployed.follow("Apply")
    assert not [name for name in deployed.names("apiservices") if "custom.metrics" in name]
    assert deployed.names("deployments", "horizontalpodautoscalers") == {"Deployment/pf-sandbox"}
    declared = declared_names(deployed.folder)
    left = {name for name in deployed.names(*RIGHTS) if "/pf-" in name} - declared
    assert left == {"RoleBinding/pf-metrics-server-auth-reader.agent-jobs"}, "what is in kube-system"
    [shown] = re.findall(r"^kubectl (get roles.*)$", (deployed.folder / "README.md").read_text(), re.M)
    for name in left:
        assert name.partition("/")[2] in deployed.run(*shlex.split(shown))
    kept = {"namespaces", "customresourcedefinitions", "persistentvolumeclaims", "secrets"}
    assert {
        f"Namespace/{NAMESPACE}",
        "CustomResourceDefinition/escrows.purpleflea.com",
        "PersistentVolumeClaim/pf-sandbox",
        "Secret/purpleflea-creds",
    } <= deployed.names(*kept)

    deployed.follow("Take it away")
    assert f"Namespace/{NAMESPACE}" not in deployed.names("namespaces")
    assert deployed.names("jobs", "deployments") == set()
    deployed.follow("Take it away")  # a second time there is nothing to find, and nothing to complain about
    waiting.until("the namespace is gone", lambda: NAMESPACE not in deployed.run("get", "namespaces"))


def declared_names(folder):
    found = [yaml.safe_load(path.read_text()) for path in folder.rglob("*.yaml")]
    return {f"{one['kind']}/{one['metadata']['name']}" for one in found if "metadata" in one}


GUARDS = {f"ValidatingAdmissionPolicy/{name}.purpleflea.com.{NAMESPACE}" for name in ("credentials", "accounts")}


def test_what_is_somebody_elses_from_now_on_is_there_still(deployed):
    """The tidying up takes from the cluster what has left the stack. Not what an administrator applies from then on,
    and neither the namespace nor the Secret: they hold accounts and keys."""
    deployed.render()
    deployed.follow("Apply")
    assert deployed.names("validatingadmissionpolicies") >= GUARDS
    holders = {"createNamespace": False, "credentials": {"existingSecret": "purpleflea-creds"}}
    deployed.render(createCrd=False, createPolicies=False, **holders)
    deployed.follow("Apply")
    kept = {f"Namespace/{NAMESPACE}", "Secret/purpleflea-creds", "CustomResourceDefinition/escrows.purpleflea.com"}
    assert deployed.names("validatingadmissionpolicies", "namespaces", "secrets", "customresourcedefinitions") >= (
        GUARDS | kept
    )
    deployed.follow("Take it away")
    assert not deployed.names("validatingadmissionpolicies") & GUARDS
    assert {f"Namespace/{NAMESPACE}", "Secret/purpleflea-creds"} <= deployed.names("namespaces", "secrets")
