"""Encryption at rest: what the file says, and that a real API server takes it and does what ENCRYPTION.md promises."""

import http.client
import json
import os
import re
import socket
import ssl
import subprocess
import tempfile
import time
from base64 import b64encode
from contextlib import ExitStack, contextmanager
from pathlib import Path

import grpc
import pytest
import yaml

from components.manifests.encryption import CONFIGURATION, INSTRUCTIONS, encryption_files
from components.settings import Settings
from tests.components.manifests import kms_plugin
from tests.toolchain.control_plane import Api, ControlPlane
from tests.toolchain.fixtures import require

KEYS = {
    "aws": "arn:aws:kms:eu-west-1:111122223333:key/1234abcd",
    "gcp": "projects/p/locations/europe-west1/keyRings/r/cryptoKeys/k",
    "azure": "https://vault.vault.azure.net/keys/key/0123",
    "kms": "",
}
WELL = "/readyz/kms-providers"
VALUE = "pf_live_a_value_to_look_for"


def files(provider: str, **more: str) -> dict[str, str]:
    wanted = {"provider": provider, "keyId": KEYS[provider], **more}
    return encryption_files(Settings.parse({"credentials": {"agentWallet": "agent-1"}, "encryption": wanted}))


@pytest.mark.parametrize("provider", KEYS)
def test_writes_go_to_kms_v2_and_plain_text_is_only_read(provider):
    configuration = yaml.safe_load(files(provider)[CONFIGURATION])
    assert (configuration["apiVersion"], configuration["kind"]) == (
        "apiserver.config.k8s.io/v1",
        "EncryptionConfiguration",
    )
    ((kms, identity),) = [entry["providers"] for entry in configuration["resources"]]
    assert kms["kms"]["apiVersion"] == "v2"
    assert "cachesize" not in kms["kms"], "KMS v2 refuses it"
    assert identity == {"identity": {}}


@pytest.mark.parametrize("provider", KEYS)
def test_instructions_have_this_stacks_names_and_every_command(provider):
    text = files(provider)[INSTRUCTIONS]
    name = yaml.safe_load(files(provider)[CONFIGURATION])["resources"][0]["providers"][0]["kms"]["name"]
    assert f"`k8s:enc:kms:v2:{name}:`" in text
    assert "/registry/secrets/agent-jobs/purpleflea-creds" in text
    assert "kubectl replace -f -" in text
    assert text.count(KEYS[provider]) >= 1
    managed = {"aws": "aws eks", "gcp": "gcloud container", "azure": "az aks"}.get(provider)
    assert len(re.findall(rf"^{managed} ", text, re.M)) == (2 if managed else 0)
    assert not re.search(r"\[\[|\]\]\s|[{}]key[{}]|\{socket\}|\{endpoint\}", text), "every placeholder is filled"


@pytest.mark.parametrize("section", [{}, {"enabled": False, "encryption": {"provider": "kms"}}])
def test_without_a_provider_there_is_no_file(section):
    assert encryption_files(Settings.parse({"credentials": {"agentWallet": "agent-1"}, **section})) == {}


@contextmanager
def running(command: list[str], directory: Path, name: str):
    with (directory / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(command, cwd=directory, stdout=log, stderr=log, env={**os.environ, "GOGC": "400"})
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


@contextmanager
def api_server(plane: ControlPlane, *flags: str):
    """A real API server, ready; its log is in the error when it does not come up."""
    program = require("controlplane", "kube-apiserver")
    with running([*plane.api_server(program), *flags], plane.directory, "kube-apiserver") as process:
        api = Api(plane)
        deadline = time.monotonic() + 90
        while not api.ready():
            log = plane.directory / "kube-apiserver.log"
            assert process.poll() is None, log.read_text()[-3000:]
            if time.monotonic() > deadline:
                raise TimeoutError(log.read_text()[-3000:])
            time.sleep(0.05)
        yield api


def in_etcd(directory: Path, key: str) -> bytes:
    """The stored bytes, asked of etcd itself: what `etcdctl get --print-value-only` shows."""
    with grpc.insecure_channel(f"unix:{directory}/etcd:0") as channel:
        return channel.unary_unary("/etcdserverpb.KV/Range")(kms_plugin.message((1, key.encode())), timeout=10)


def replace_all_secrets(plane: ControlPlane, api: Api) -> int:
    """`kubectl get secrets --all-namespaces -o json | kubectl replace -f -`, call by call."""
    tls = ssl.create_default_context(cafile=plane.pki / "ca.crt")
    tls.load_cert_chain(plane.pki / "admin.crt", plane.pki / "admin.key")
    secrets = json.loads(api.request("GET", "/api/v1/secrets")[1])["items"]
    for secret in secrets:
        metadata = secret["metadata"]
        path = f"/api/v1/namespaces/{metadata['namespace']}/secrets/{metadata['name']}"
        connection = http.client.HTTPSConnection(plane.address, plane.port, context=tls, timeout=20)
        body = json.dumps({"apiVersion": "v1", "kind": "Secret", **secret})
        connection.request("PUT", path, body, {"Content-Type": "application/json"})
        assert connection.getresponse().status == 200
        connection.close()
    return len(secrets)


@pytest.mark.controlplane
@pytest.mark.slow
@pytest.mark.checklist("K3")
def test_a_real_api_server_encrypts_by_it(seen):
    """Plain before; with the file, new Secrets are encrypted, old ones still readable, and encrypted once replaced."""
    etcd = require("controlplane", "etcd")
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kms-")))  # sockets' paths are short
        reserved = stack.enter_context(socket.socket())
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        reserved.bind(("127.0.0.1", 0))
        plane = ControlPlane(directory, "127.0.0.1", reserved.getsockname()[1])
        plane.pki.mkdir()
        plane.write_credentials()
        stack.enter_context(running(plane.etcd(etcd), directory, "etcd"))
        with api_server(plane) as api:
            namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "agent-jobs"}}
            assert api.request("POST", "/api/v1/namespaces", namespace)[0] == 201
            create(api, "before")
        assert VALUE.encode() in in_etcd(directory, "/registry/secrets/agent-jobs/before")

        plugin = stack.enter_context(kms_plugin.serving(directory / "kms"))
        configuration = directory / Path(CONFIGURATION).name
        configuration.write_text(files("kms", endpoint=f"unix://{directory}/kms")[CONFIGURATION])
        flags = re.findall(r"`(--encryption-\S+)`", files("kms")[INSTRUCTIONS])
        assert len(flags) == 2
        with api_server(plane, *(flag.replace("/etc/kubernetes/encryption", f"{directory}") for flag in flags)) as api:
            assert f"kubectl get --raw {WELL}" in files("kms")[INSTRUCTIONS]
            assert api.request("GET", WELL) == (200, "ok")
            create(api, "after")
            assert sealed(directory, "after")
            assert not sealed(directory, "before"), "only what is written after the change is encrypted"
            assert read(api, "before") == read(api, "after") == VALUE
            assert replace_all_secrets(plane, api) == 2
            assert sealed(directory, "before")
            assert read(api, "before") == VALUE
        assert "Encrypt" in plugin.calls
        seen("in etcd", "plain before, sealed by the KMS plug-in after, and the old one once replaced; both readable")


def create(api: Api, name: str) -> None:
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {"api-key": VALUE}}
    status, text = api.request("POST", "/api/v1/namespaces/agent-jobs/secrets", body)
    assert status == 201, text


def read(api: Api, name: str) -> str:
    data = json.loads(api.request("GET", f"/api/v1/namespaces/agent-jobs/secrets/{name}")[1])["data"]
    assert data["api-key"] == b64encode(VALUE.encode()).decode()
    return VALUE


def sealed(directory: Path, name: str) -> bool:
    stored = in_etcd(directory, f"/registry/secrets/agent-jobs/{name}")
    assert stored, "etcd has it"
    return b"k8s:enc:kms:v2:purpleflea-kms:" in stored and VALUE.encode() not in stored
