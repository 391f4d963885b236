"""A rotated key in a sandbox stack's own Secret, asked of a real API server: whatever applies the manifest keeps it."""

import base64

import pytest
from lightkube import codecs
from lightkube.resources.core_v1 import Secret
from lightkube.types import PatchType

from components.manifests import admission, credentials, key_rotation
from components.settings import Settings
from tests.toolchain import waiting

NAME = "purpleflea-creds"


@pytest.fixture
def settings(namespace):
    """A stack in the namespace, with a key that JSON pointers escape, and its policy once that acts."""
    keys = {"existingSecret": "", "apiKeyKey": "api-key", "agentWallet": "agent-1"}
    found = Settings.parse({"namespace": namespace.name, "sandbox": {"enabled": True}, "credentials": keys})
    policy = key_rotation.policy(found)
    objects = [codecs.from_dict(one) for one in (policy, admission.binding(found, policy))]
    namespace.client.create(codecs.from_dict(manifest(found)))
    for one in objects:
        namespace.client.create(one)
    yield found
    for one in objects:
        namespace.client.delete(type(one), one.metadata.name)


def manifest(settings, key=credentials.SANDBOX_API_KEY, wallet=""):
    keys = settings.credentials.model_copy(update={"agent_wallet": wallet or settings.credentials.agent_wallet})
    return credentials.secret(settings.model_copy(update={"credentials": keys}), key)


def held(namespace) -> dict[str, str]:
    data = namespace.client.get(Secret, NAME).data or {}
    return {key: base64.b64decode(value).decode() for key, value in data.items()}


def rotate(namespace, key):
    namespace.client.patch(Secret, NAME, {"stringData": {"api-key": key}}, patch_type=PatchType.MERGE)


def apply(namespace, one):
    """As `helm upgrade`, `kubectl apply --server-side` and the GitOps tools do, by a manager who wrote it before."""
    namespace.client.apply(codecs.from_dict(one), field_manager="helm")


def test_a_rotated_key_stays_and_other_settings_arrive(namespace, settings):
    def is_kept():
        rotate(namespace, "rotated")
        apply(namespace, manifest(settings))
        return held(namespace)["api-key"] == "rotated"

    waiting.until("the policy acts", is_kept)
    apply(namespace, manifest(settings, wallet="agent-2"))
    assert (held(namespace)["api-key"], held(namespace)["agent-wallet"]) == ("rotated", "agent-2")
    namespace.client.patch(Secret, NAME, manifest(settings), patch_type=PatchType.MERGE)  # as Helm 3 and kubectl do
    assert (held(namespace)["api-key"], held(namespace)["agent-wallet"]) == ("rotated", "agent-1")
    rotate(namespace, "rotated again")
    assert held(namespace)["api-key"] == "rotated again"
    apply(namespace, manifest(settings, key="of the stack's own settings"))
    assert held(namespace)["api-key"] == "of the stack's own settings", "another key than the play key is meant"


@pytest.mark.parametrize(
    "mapping",
    [
        {},
        {"sandbox": {"enabled": True}, "credentials": {"existingSecret": "mine"}},
        {"sandbox": {"enabled": True}, "admission": {"jobGate": "manifest"}},
    ],
)
def test_secrets_of_others_and_older_clusters_have_no_such_policy(mapping):
    assert not key_rotation.is_used(Settings.parse(mapping))
