"""The Kubernetes guide's listings, and the one table of what we do otherwise, and why."""

from pathlib import Path

import pytest
import yaml

from components.manifests import stack
from components.settings import Settings
from runtime.contract import AGENT_LABEL
from tests.guides.parity import differences, unexplained

LISTINGS = Path(__file__).parent / "kubernetes"
SETTINGS = {"credentials": {"existingSecret": "", "agentWallet": "agent-k8s-prod-cluster-001"}}

JOB, POD = "Job/pf-agent-job", "spec.template.spec"
OPERATOR = "Deployment/pf-escrow-operator"
WORKERS = "Deployment/pf-agent-workers"
PAYROLL, PAYROLL_POD = "CronJob/pf-agent-payroll", "spec.jobTemplate.spec.template.spec"
# ruff: noqa: E501 - a table is read by its rows
DEPARTURES = {
    f"{JOB}: metadata.name": "ends in a hash of its content, or a changed Job is refused as immutable; label and setting keep the name",
    f"{JOB}: spec.ttlSecondsAfterFinished": "a Job of the manifests stays: whatever applies them again would create it anew and pay again",
    f"{JOB}: {POD}.initContainers[faucet-claim].image": "python:3.12-slim has no HTTP client; our image has, and is pinned",
    f"{JOB}: {POD}.containers[agent].env[PF_API_KEY]": "an agent is not trusted with the payer's key; `credential: payer` gives it",
    f"{WORKERS}: {POD}.containers[agent].env[PF_API_KEY]": "an agent is not trusted with the payer's key; `credential: payer` gives it",
    "Role/pf-secret-reader": "a token of the agents' account would read the payer's key; pods need none; only with `credential: payer`",
    "RoleBinding/pf-agent-reads-secret": "a token of the agents' account would read the payer's key; pods need none; only with `credential: payer`",
    f"{OPERATOR}: {POD}.containers[operator].image": "pinned: `latest` may become another program between two restarts",
    f"{OPERATOR}: {POD}.containers[operator].env[PF_API_KEY]": "read from a mounted file, so that a rotated key needs no restart",
    f"{PAYROLL}: {PAYROLL_POD}.serviceAccountName": "its own, since it needs rights that agents must not have",
    f"{PAYROLL}: {PAYROLL_POD}.containers[payroll].image": "python:3.12-slim has no HTTP client; our image has, and is pinned",
    f"{PAYROLL}: {PAYROLL_POD}.containers[payroll].command": "the program is in the image, tested, and not in the manifest",
    f"{PAYROLL}: {PAYROLL_POD}.containers[payroll].args": "the program is in the image, tested, and not in the manifest",
    "HorizontalPodAutoscaler/pf-agent-hpa: spec.metrics[0].object.target": "AverageValue: Value multiplies the queue by the workers that are there",
    f"Deployment/pf-agent-workers: {POD}.containers[pf-mcp-proxy]": "a native sidecar, among the init containers, so that it also fits Jobs",
    "values: mcp.faucetEndpoint": "empty means `/mcp` where the service itself is: by the settings, the sandbox or the Secret",
    "values: mcp.escrowEndpoint": "empty means `/mcp` where the service itself is: by the settings, the sandbox or the Secret",
    "values: operator.image": "empty means our pinned image",
    "values: operator.watchNamespace": "empty means the stack's namespace, which is the guide's",
}  # fmt: skip


def found(**more) -> dict[str, str]:
    """Every difference between the listings and what we render."""
    rendered = stack.objects(Settings.parse({**SETTINGS, **more}))
    told = {}
    for file in sorted(LISTINGS.glob("*.yaml")):
        for listing in yaml.safe_load_all(file.read_text()):
            if "kind" in listing:
                name, ours = f"{listing['kind']}/{listing['metadata']['name']}", _ours(rendered, listing)
            else:
                name, listing, ours = "values", listing["purpleflea"], Settings().model_dump(mode="json", by_alias=True)
            if not ours:
                told[name] = "not rendered"
                continue
            told |= {f"{name}: {path}": how for path, how in differences(listing, ours).items()}
    return told


def _ours(rendered, listing):
    name = listing["metadata"]["name"]
    for o in rendered:
        called = (o["metadata"]["name"], o["metadata"]["labels"].get(AGENT_LABEL))
        if o["kind"] == listing["kind"] and name in called:
            return o
    return {}


def test_every_path_is_rendered_or_its_departure_explained():
    assert unexplained(found(), DEPARTURES) == []


def test_the_payers_key_goes_to_agents_as_in_the_guide_where_the_settings_say_so():
    payer = {"agents": [{"name": "pf-agent-job", "credential": "payer"}], "worker": {"credential": "payer"}}
    left = {*found()} - {*found(**payer)}
    assert {path.partition(":")[0] for path in left} == {
        JOB,
        WORKERS,
        "Role/pf-secret-reader",
        "RoleBinding/pf-agent-reads-secret",
    }


def test_sidecar_is_the_guides_but_for_its_place():
    listing = next(
        d for d in yaml.safe_load_all((LISTINGS / "deployment.yaml").read_text()) if d["kind"] == "Deployment"
    )
    listed = listing["spec"]["template"]["spec"]["containers"][1]
    # The guide has the Secret's addresses in the Secret, and these two beside it, of the same service.
    services = {f"{name}Url": f"https://{name}.purpleflea.com" for name in ("faucet", "escrow")}
    ours = next(
        o
        for o in stack.objects(Settings.parse({"services": services}))
        if o["kind"] == "Deployment" and o["metadata"]["name"] == "pf-agent-workers"
    )
    [rendered] = [c for c in ours["spec"]["template"]["spec"]["initContainers"] if c["name"] == listed["name"]]
    assert rendered["restartPolicy"] == "Always"
    assert differences(listed, rendered) == {}


@pytest.mark.parametrize(
    ("listing", "rendered", "told"),
    [
        ({"a": 1}, {"a": 1, "b": 2}, {}),
        ({"a": 1}, {"a": 2}, {"a": "rendered as 2, listed as 1"}),
        ({"a": {"b": 1}}, {}, {"a.b": "not rendered"}),
        ({"a": {}}, {"a": {"b": 1}}, {}),
        ({"env": [{"name": "X", "value": "1"}]}, {"env": [{"name": "W"}, {"name": "X", "value": "1"}]}, {}),
        ({"a": ["x", "y"]}, {"a": ["y", "x"]}, {"a[0]": "rendered as 'y', listed as 'x'", "a[1]": "rendered as 'x', listed as 'y'"}),
        ({"a": None}, {}, {"a": "not rendered"}),
    ],
)  # fmt: skip
def test_comparison(listing, rendered, told):
    assert differences(listing, rendered) == told


def test_idle_reason_is_told():
    assert unexplained({}, {"x": "because"}) == ["x: no longer differs; take it off the table"]
    assert unexplained({"x.y": "not rendered"}, {"x": "because"}) == []
    assert unexplained({"xy": "not rendered"}, {"x": "because"}) != []
