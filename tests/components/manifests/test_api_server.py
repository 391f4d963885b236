"""A real API server takes every object of every example, field by field."""

import json
import re

import pytest

from components.manifests import stack
from components.settings import Settings
from tests.components import stacks

NOT_THERE = ("ScaledObject", "Issuer", "Certificate")
"""Kinds of add-ons that the test cluster has not got; their schemas are checked offline."""
STRICT = {"fieldManager": "tests", "force": "true", "dryRun": "All", "fieldValidation": "Strict"}


def path(o) -> str:
    """Where the object lives."""
    plural = re.sub(r"y$", "ie", o["kind"].lower()) + "s"
    namespace = o["metadata"].get("namespace")
    root = "/api" if "/" not in o["apiVersion"] else "/apis"
    return f"{root}/{o['apiVersion']}/{f'namespaces/{namespace}/' if namespace else ''}{plural}/{o['metadata']['name']}"


@pytest.mark.parametrize("name", stacks.EXAMPLES)
def test_every_object_is_taken(name, namespace):
    settings = Settings.parse(stacks.EXAMPLES[name] | {"namespace": namespace.name})
    objects = [o for o in stack.objects(settings) if o["kind"] not in NOT_THERE]
    assert len(objects) >= 4
    http = namespace.client._client._client  # lightkube's own types would drop a key that they do not know
    for o in objects:
        if o["metadata"].get("namespace") in (None, namespace.name, "kube-system"):
            headers = {"Content-Type": "application/apply-patch+yaml"}
            answer = http.patch(path(o), params=STRICT, headers=headers, content=json.dumps(o))
            assert answer.status_code in (200, 201), f"{path(o)}: {answer.text}"


def test_the_server_is_strict(namespace):
    """The test above means nothing if an unknown key passes."""
    o = next(o for o in stack.objects(Settings(namespace=namespace.name)) if o["kind"] == "Deployment")
    o["spec"]["template"]["spec"]["containers"][0]["probe"] = {}
    headers = {"Content-Type": "application/apply-patch+yaml"}
    answer = namespace.client._client._client.patch(path(o), params=STRICT, headers=headers, content=json.dumps(o))
    assert answer.status_code >= 400
    assert "probe" in answer.text
