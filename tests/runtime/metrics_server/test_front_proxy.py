"""Who is answered: whoever came through the API server and may read, and nobody else."""

import asyncio
import datetime
import socket
import ssl
from contextlib import ExitStack, suppress

import httpx
import pytest
from lightkube.resources.core_v1 import ConfigMap

from components.manifests import naming
from runtime.contract import QUEUE_AUDIENCE
from runtime.metrics_server.certificates import Pair, ServingContext
from runtime.metrics_server.custom_metrics import METRICS
from runtime.metrics_server.front_proxy import FrontProxy
from runtime.metrics_server.pages import ApiProtocol
from runtime.service.http import PEER_CERTIFICATE, HttpServer, Receive, Scope, Send
from runtime.service.sockets import listen
from tests.ports import free_port
from tests.runtime.metrics_server.world import DEPTH, GROUP
from tests.toolchain import certificates
from tests.toolchain.certificates import Authority

READER = {"X-Remote-User": "reader"}


def test_the_front_proxy_is_answered_as_kubernetes_clients_expect(served):
    world, server = served
    with server.client(world.front_proxy()) as client:
        for version in ("v1beta1", "v1beta2"):
            found = client.get(world.metric_path(version), headers=READER).json()
            (item,) = found["items"]
            name = item.get("metricName") or item["metric"]["name"]
            assert (found["kind"], name, item["value"]) == ("MetricValueList", DEPTH, "1")
            assert item["describedObject"]["namespace"] == world.namespace
        admin = {"X-Remote-User": "system:kube-aggregator", "X-Remote-Group": "system:masters"}
        listed = client.get(f"{GROUP}/v1beta2", headers=admin).json()
        assert [one["name"] for one in listed["resources"]] == [f"services/{metric}" for metric in METRICS]
        assert client.get(GROUP, headers=admin).json()["preferredVersion"]["version"] == "v1beta2"
        values = {m: client.get(world.metric_path(metric=m), headers=READER).json() for m in METRICS}
        assert values["escrow_queue_value_usdc"]["items"][0]["value"] == "500m"
        answers = {
            world.metric_path() + "?metricLabelSelector=payee%3Dnobody": 200,
            world.metric_path() + "?metricLabelSelector=((": 400,
            world.metric_path(name="other"): 404,
            world.metric_path(metric="other"): 404,
            f"{GROUP}/v1beta3": 404,
            f"{GROUP}/v1beta2/namespaces/default/services/pf-metrics-server/{DEPTH}": 404,
        }
        world.await_(
            lambda: client.get(next(iter(answers)), headers=READER).status_code == 200,
            "by two readings nothing waits for that payee",
        )
        assert {path: client.get(path, headers=admin | READER).status_code for path in answers} == answers
        zero = client.get(next(iter(answers)), headers=READER).json()
        assert zero["items"][0]["value"] == "0"
        assert client.post(world.metric_path(), headers=admin).status_code == 405


def test_who_did_not_come_through_it_is_refused(served, tmp_path):
    """A forged header, no certificate, another CA's, another name, one that has expired, a user without rights."""
    world, server = served
    path = world.metric_path()
    with server.client(None) as client:
        answer = client.get(path, headers=READER)
        assert (answer.status_code, answer.json()["kind"], answer.json()["reason"]) == (401, "Status", "Unauthorized")
    stranger = Authority(tmp_path, "stranger").issue("front-proxy-client", "front-proxy-client")
    with server.client(stranger) as client, pytest.raises((httpx.TransportError, ssl.SSLError)):
        client.get(path, headers=READER)
    proxy_authority = authority_of(world)
    other = proxy_authority.issue("other-name", "somebody")
    with server.client(other) as client:
        assert client.get(path, headers=READER).status_code == 401
    with server.client(world.front_proxy()) as client:
        assert client.get(path).status_code == 401
        refused = client.get(path, headers={"X-Remote-User": "mallory"})
        assert refused.status_code == 403
        assert refused.json()["message"].startswith('services.custom.metrics.k8s.io "pf-metrics-server" is forbidden')
        found = client.get(GROUP, headers={"X-Remote-User": "mallory"})
        assert found.status_code == 200, "discovery is for everybody who is authenticated, as in Kubernetes"
    assert server.metric() == 1


def test_the_queue_as_json_is_for_its_readers_alone(served):
    """By a token that was made for it, of an account that may read it."""
    world, server = served
    reader = naming.QUEUE_READER
    cases = {"": 401, "nonsense": 401, world.token_of(reader): 401, world.token_of(naming.WORKER_ACCOUNT): 401}
    cases[world.token_of(naming.WORKER_ACCOUNT, QUEUE_AUDIENCE)] = 403
    cases[world.token_of(reader, QUEUE_AUDIENCE)] = 200
    assert {token: server.page("/queue-depth", token).status_code for token in cases} == cases
    assert world.key not in server.log()


def test_whoever_has_no_certificate_leaves_room_for_the_front_proxy(served):
    """Half of a request each, from more than may be connected; and the front proxy is answered meanwhile."""
    world, server = served
    tls = ssl.create_default_context(cafile=server.authority)
    tls.check_hostname = False
    with ExitStack() as opened:
        for _ in range(ApiProtocol.bounds.connections + 1):
            plain = socket.create_connection(("127.0.0.1", server.api_port), 20)
            with suppress(OSError):  # it was closed already
                opened.enter_context(tls.wrap_socket(plain)).send(b"GET / HTTP/1.1\r\n")
        with server.client(world.front_proxy()) as client:
            assert client.get(world.metric_path(), headers=READER).status_code == 200


def test_an_expired_certificate_is_refused_also_on_a_connection_that_is_kept(served, tmp_path):
    world, server = served
    proxy = FrontProxy.read({"requestheader-client-ca-file": Authority(tmp_path, "ca").file.read_text()})
    headers = [(b"x-remote-user", b"reader"), (b"x-remote-group", b"a"), (b"x-remote-extra-scopes%2fx", b"y")]
    subject = ((("commonName", "front-proxy-client"),),)
    now = datetime.datetime.now(datetime.UTC)
    stamps = [now + datetime.timedelta(seconds=seconds) for seconds in (-1, 60)]
    past, later = ({"subject": subject, "notAfter": stamp.strftime("%b %d %H:%M:%S %Y GMT")} for stamp in stamps)
    assert proxy.user(past, headers) is None
    user = proxy.user(later, headers)
    assert user is not None
    assert (user.name, user.groups, user.extra) == ("reader", ("a", "system:authenticated"), {"scopes/x": ("y",)})
    expired = expiring(authority_of(world), tmp_path)
    with server.client(expired) as client, pytest.raises((httpx.TransportError, ssl.SSLError)):
        client.get(world.metric_path(), headers=READER)


def authority_of(world) -> Authority:
    """The cluster's own front proxy authority, to sign what it did not."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    pki = world.cluster.directory / "pki"
    found = Authority.__new__(Authority)
    found._directory = world.folder
    file, key_file = pki / "front-proxy-ca.crt", pki / "front-proxy-ca.key"
    key = load_pem_private_key(key_file.read_bytes(), None)
    found.root = certificates.Certificate(key_file, file, key, x509.load_pem_x509_certificate(file.read_bytes()))
    return found


def expiring(authority: Authority, folder) -> certificates.Certificate:
    """One that ran out an hour ago."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "front-proxy-client")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(authority.root.x509.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=2))
        .not_valid_after(now - datetime.timedelta(hours=1))
        .sign(authority.root.key, hashes.SHA256())
    )
    return certificates._write(folder, "expired", key, made)


def test_a_further_authority_in_the_config_map_is_believed_at_once(served, tmp_path):
    """The API server itself puts its own back beside it, so what is withdrawn is seen below."""
    world, server = served
    kube_system = world.cluster.client("kube-system")
    key, name = "requestheader-client-ca-file", "extension-apiserver-authentication"
    following = Authority(tmp_path, "next-front-proxy-ca")
    both = kube_system.get(ConfigMap, name).data[key] + following.file.read_text()
    kube_system.patch(ConfigMap, name, {"data": {key: both}})
    newer = following.issue("next", "front-proxy-client")

    def believes() -> bool:
        try:
            with server.client(newer) as client:
                return client.get(world.metric_path(), headers=READER).status_code == 200
        except (httpx.TransportError, ssl.SSLError):
            return False

    world.await_(believes, "the new authority is believed")


def test_an_authority_that_is_withdrawn_is_believed_no_more(tmp_path):
    """Neither in a new handshake, nor on a connection that was kept, nor by a session that is resumed."""
    serving_authority, before, after = (Authority(tmp_path, name) for name in ("serving", "before", "after"))
    pair = serving_authority.issue("pair", "metrics", hosts=["localhost"])
    serving = ServingContext()
    serving.use(Pair(pair.file.read_bytes(), pair.key_file.read_bytes()), before.file.read_text())

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        shown = scope["state"][PEER_CERTIFICATE]
        body = (shown["subject"][0][0][1] if shown else "nobody").encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
        await send({"type": "http.response.body", "body": body})

    async def scenario() -> None:
        port, stop, ready = free_port(), asyncio.Event(), asyncio.Event()
        server = HttpServer(app, listen("127.0.0.1", port), stop, tls=serving.outer, on_ready=ready.set)
        serves = asyncio.create_task(server.run_until_stopped())
        await ready.wait()
        old, new = (
            client_tls(serving_authority, one.issue(f"{one.root.file.stem}-client", "a")) for one in (before, after)
        )
        old_client = httpx.AsyncClient(base_url=f"https://localhost:{port}", verify=old, trust_env=False)
        async with (
            old_client,
            httpx.AsyncClient(base_url=f"https://localhost:{port}", verify=new, trust_env=False) as new_client,
        ):
            assert (await old_client.get("/")).text == "a"
            with pytest.raises((httpx.TransportError, ssl.SSLError)):
                await new_client.get("/")
            serving.use(clients=after.file.read_text())
            server.let_go()
            assert (await new_client.get("/")).text == "a"
            with pytest.raises((httpx.TransportError, ssl.SSLError)):
                await old_client.get("/")
        stop.set()
        await serves

    asyncio.run(scenario())


def client_tls(server: Authority, certificate: certificates.Certificate) -> ssl.SSLContext:
    tls = ssl.create_default_context(cafile=server.file)
    tls.load_cert_chain(certificate.file, certificate.key_file)
    return tls


def test_the_mounted_pair_is_shown_anew_when_it_changes(served, tmp_path):
    world, server = served
    newer = Authority(tmp_path, "newer-ca")
    pair = newer.issue("serving", "metrics", hosts=["localhost", "127.0.0.1"])
    (world.folder / "tls" / "tls.crt").write_bytes(pair.file.read_bytes())
    with server.client(world.front_proxy()) as client:
        assert client.get(world.metric_path(), headers=READER).status_code == 200, "half of a pair is none"
    (world.folder / "tls" / "tls.key").write_bytes(pair.key_file.read_bytes())
    server.authority = newer.file

    def shown() -> bool:
        try:
            with server.client(world.front_proxy()) as client:
                return client.get(world.metric_path(), headers=READER).status_code == 200
        except (httpx.TransportError, ssl.SSLError):
            return False

    world.await_(shown, "the newer pair is shown")
