"""People's kubeconfigs: what kubectl can use can be used, and what it cannot is said in one sentence."""

import asyncio
import base64
import contextlib
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from aiohttp import web

from runtime.kubernetes.client import KubernetesApi
from runtime.kubernetes.errors import ApiUnreachable, KubernetesError, LoginError
from runtime.kubernetes.kubeconfig import KubeconfigLogin
from runtime.kubernetes.listing import Listing
from runtime.kubernetes.shape import NAMED
from tests.runtime.operator.world import START_SECONDS

ROOT = Path(__file__).parents[3]
CREDENTIAL = "client.authentication.k8s.io"


@pytest.fixture
def known(control_plane, namespace) -> dict:
    """Cluster, token and certificate that work, all as data in the file."""
    document = yaml.safe_load(namespace.kubeconfig_for("default").read_text())
    administrator = yaml.safe_load(control_plane.kubeconfig.read_text())
    folder = control_plane.kubeconfig.parent
    cluster = document["clusters"][0]["cluster"]
    if authority := cluster.pop("certificate-authority", None):
        cluster["certificate-authority-data"] = base64.b64encode(Path(authority).read_bytes()).decode()
    user = administrator["users"][0]["user"]
    certificate, key = (_text(user, name, folder) for name in ("client-certificate", "client-key"))
    token = document["users"][0]["user"]["token"]
    return {"cluster": cluster, "token": token, "certificate": certificate, "key": key, "namespace": namespace.name}


def _text(user: dict, name: str, folder: Path) -> str:
    data = user.get(f"{name}-data")
    return base64.b64decode(data).decode() if data else (folder / user[name]).read_text()


def write(file: Path, user: dict, cluster: dict, namespace: str = "default", **top: object) -> Path:
    """A kubeconfig with one context."""
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "clusters": [{"name": "it", "cluster": cluster}],
        "users": [{"name": "me", "user": user}],
        "contexts": [{"name": "here", "context": {"cluster": "it", "user": "me", "namespace": namespace}}],
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(yaml.safe_dump({key: value for key, value in (document | top).items() if value is not None}))
    return file


def plugin(file: Path, version: str, status: dict, then: dict | None = None) -> dict:
    """An exec plug-in that gives one credential, and from the second call on another."""
    answers = [{"apiVersion": f"{CREDENTIAL}/{version}", "kind": "ExecCredential", "status": s} for s in (status, then)]
    calls = shlex.quote(f"{file}.calls")
    script = f"""#!/bin/sh
echo x >> {calls}
case "$KUBERNETES_EXEC_INFO" in *{version}*) ;; *) echo "no KUBERNETES_EXEC_INFO" >&2; exit 1 ;; esac
if [ "$(wc -l < {calls})" -gt 1 ] && [ -n "$AGAIN" ]; then printf %s {shlex.quote(json.dumps(answers[1]))}; exit; fi
printf %s {shlex.quote(json.dumps(answers[0]))}
"""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(script)
    file.chmod(0o755)
    wanted = {"apiVersion": f"{CREDENTIAL}/{version}", "command": str(file), "interactiveMode": "IfAvailable"}
    return wanted | {"env": [{"name": "AGAIN", "value": "yes" if then else ""}]}


def who(*files: Path, times: int = 1) -> str:
    """The name that the API server knows us by, asked so often."""

    async def ask() -> str:
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        async with KubernetesApi("tests", KubeconfigLogin(files)) as api:
            for _ in range(times):
                found = await api.create("/apis/authentication.k8s.io/v1/selfsubjectreviews", review)
            return found["status"]["userInfo"]["username"]

    return asyncio.run(ask())


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
def test_an_exec_plugin_gives_a_token(known, tmp_path, version):
    user = {"exec": plugin(tmp_path / "plugin", version, {"token": known["token"]})}
    assert who(write(tmp_path / "config", user, known["cluster"])).endswith(f"{known['namespace']}:default")


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
def test_an_exec_plugin_gives_a_certificate(known, tmp_path, version):
    status = {"clientCertificateData": known["certificate"], "clientKeyData": known["key"]}
    user = {"exec": plugin(tmp_path / "plugin", version, status)}
    assert who(write(tmp_path / "config", user, known["cluster"])) == "admin"


def test_a_plugin_is_asked_once_and_again_when_its_token_is_refused(known, tmp_path):
    user = {"exec": plugin(tmp_path / "plugin", "v1", {"token": "of yesterday"}, then={"token": known["token"]})}
    file = write(tmp_path / "config", user, known["cluster"])
    assert who(file, times=3).endswith(":default")
    assert (tmp_path / "plugin.calls").read_text().split() == ["x", "x"]


def test_a_credential_that_ends_is_asked_for_again_before_it_does(known, tmp_path):
    past = {"token": known["token"], "expirationTimestamp": "2020-01-01T00:00:00Z"}
    user = {"exec": plugin(tmp_path / "plugin", "v1", past)}
    who(write(tmp_path / "config", user, known["cluster"]), times=2)
    assert len((tmp_path / "plugin.calls").read_text().split()) > 1


def test_of_several_files_the_first_that_names_a_context_decides(known, tmp_path):
    """As kubectl has it: else escrowctl would act on another cluster than kubectl does."""
    nowhere = {"server": "https://127.0.0.1:1"}
    first = write(tmp_path / "a" / "config", {"token": known["token"]}, known["cluster"])
    second = write(tmp_path / "b" / "config", {"token": "x"}, nowhere, **{"current-context": "there"})
    assert who(first, second).endswith(":default")


def test_context_cluster_and_user_may_stand_in_different_files(known, tmp_path):
    everything = write(tmp_path / "b" / "config", {"tokenFile": "secret/token"}, known["cluster"])
    (tmp_path / "b" / "secret").mkdir()
    (tmp_path / "b" / "secret" / "token").write_text(known["token"] + "\n")
    chosen = tmp_path / "a"
    chosen.write_text("current-context: here\n")
    assert who(chosen, everything).endswith(":default"), "a relative path counts from its own file"


def test_a_relative_plugin_counts_from_its_file(known, tmp_path, monkeypatch):
    user = {"exec": plugin(tmp_path / "home" / "bin" / "plugin", "v1", {"token": known["token"]})}
    user["exec"]["command"] = "./bin/plugin"
    monkeypatch.chdir(tmp_path)
    assert who(write(Path("home/config"), user, known["cluster"])).endswith(":default")


def test_an_oidc_token_is_sent_as_it_is(known, tmp_path):
    provider = {"name": "oidc", "config": {"id-token": known["token"], "idp-issuer-url": "https://127.0.0.1:1"}}
    assert who(write(tmp_path / "config", {"auth-provider": provider}, known["cluster"])).endswith(":default")


def test_a_proxy_url_is_used(known, tmp_path):
    asked: list[str] = []

    async def tunnelled(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        target = head.split()[1].decode()
        asked.append(target)
        host, _, port = target.rpartition(":")
        to_reader, to_writer = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await asyncio.gather(_pump(reader, to_writer), _pump(to_reader, writer), return_exceptions=True)

    async def ask() -> list:
        server = await asyncio.start_server(tunnelled, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        cluster = known["cluster"] | {"proxy-url": f"http://127.0.0.1:{port}"}
        login = KubeconfigLogin([write(tmp_path / "config", {"token": known["token"]}, cluster)])
        async with server, KubernetesApi("tests", login) as api:
            with contextlib.suppress(KubernetesError):
                return [one async for one in Listing(api, "/api/v1/namespaces", NAMED)]
        return []

    asyncio.run(ask())
    assert asked == [known["cluster"]["server"].removeprefix("https://")]


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(65_536):
        writer.write(piece)
        await writer.drain()
    writer.close()


NOWHERE = {"server": "https://x"}
COMPLAINS = "echo log in first >&2; exit 3"

BROKEN = {
    "not there": (lambda f: f.unlink(), "not found"),
    "no YAML": (lambda f: f.write_text("clusters: [\n\t}"), "line 2"),
    "no mapping": (lambda f: f.write_text("just words"), "no mapping"),
    "a list": (lambda f: f.write_text("- a\n- b"), "no mapping"),
    "empty": (lambda f: f.write_text(""), "no current context"),
    "not UTF-8": (lambda f: f.write_bytes(b"\xff\xfe\x00"), "cannot be read"),
    "no context": (lambda f: write(f, {}, {"server": "https://x"}, **{"current-context": None}), "no current context"),
    "unknown context": (
        lambda f: write(f, {}, {"server": "https://x"}, **{"current-context": "z"}),
        "no context named",
    ),
    "no clusters": (lambda f: write(f, {}, {}, clusters=None), "no cluster named 'it'"),
    "no users": (lambda f: write(f, {}, {"server": "https://x"}, users=None), "no user named 'me'"),
    "clusters no list": (lambda f: write(f, {}, {}, clusters="x"), "each of clusters has a name"),
    "no server": (lambda f: write(f, {}, {}), "cluster.server"),
    "server without scheme": (lambda f: write(f, {}, {"server": "x:6443"}), "expected an https:// URL"),
    "a port that is none": (lambda f: write(f, {}, {"server": "https://x:port"}), "expected an https:// URL"),
    "a name beyond ASCII": (lambda f: write(f, {}, {"server": "https://ä.example"}), "expected an https:// URL"),
    "a proxy without a host": (lambda f: write(f, {}, {"server": "https://x", "proxy-url": "http://"}), "proxy-url"),
    "a SOCKS proxy": (lambda f: write(f, {}, {"server": "https://x", "proxy-url": "socks5://y"}), "proxy-url"),
    "no plug-in": (
        lambda f: write(
            f,
            {"exec": {"apiVersion": f"{CREDENTIAL}/v1", "command": "pf-no-such", "installHint": "install\nit"}},
            {"server": "https://x"},
        ),
        "exec plug-in pf-no-such is not installed (not found on the PATH); install it",
    ),
    "a plug-in that fails": (
        lambda f: write(
            f,
            {
                "exec": {
                    "apiVersion": f"{CREDENTIAL}/v1",
                    "command": "sh",
                    "args": ["-c", "echo log in first >&2; exit 3"],
                }
            },
            {"server": "https://x"},
        ),
        "log in first",
    ),
    "a plug-in that talks": (
        lambda f: write(
            f,
            {"exec": {"apiVersion": f"{CREDENTIAL}/v1", "command": "echo", "args": ["hello"]}},
            {"server": "https://x"},
        ),
        "failed to decode process output",
    ),
    "a plug-in of another version": (
        lambda f: write(
            f,
            {"exec": plugin(f.parent / "p", "v1", {"token": "t"}) | {"apiVersion": "v1-or-so"}},
            {"server": "https://x"},
        ),
        "v1-or-so",
    ),
    "a plug-in with nothing": (
        lambda f: write(f, {"exec": plugin(f.parent / "p", "v1", {})}, {"server": "https://x"}),
        "gave no credential",
    ),
    "a plug-in without command": (
        lambda f: write(f, {"exec": {"apiVersion": f"{CREDENTIAL}/v1"}}, {"server": "https://x"}),
        "missing key 'command'",
    ),
    "no token file": (lambda f: write(f, {"tokenFile": "gone"}, {"server": "https://x"}), "gone not found"),
    "no certificate file": (
        lambda f: write(f, {"client-certificate": "me.crt"}, {"server": "https://x"}),
        "me.crt not found",
    ),
    "no authority": (lambda f: write(f, {}, {"server": "https://x", "certificate-authority": "ca"}), "ca not found"),
    "data that is no base64": (
        lambda f: write(f, {}, {"server": "https://x", "certificate-authority-data": "???"}),
        "kubeconfig",
    ),
    "data that is no certificate": (
        lambda f: write(f, {}, {"server": "https://x", "certificate-authority-data": "aGVsbG8="}),
        "certificates",
    ),
    "a provider that kubectl dropped": (
        lambda f: write(f, {"auth-provider": {"name": "gcp"}}, {"server": "https://x"}),
        "kubectl no longer knows auth-provider gcp",
    ),
    "OIDC without a token": (
        lambda f: write(f, {"auth-provider": {"name": "oidc", "config": {}}}, {"server": "https://x"}),
        "id-token is missing",
    ),
    "nesting without end": (lambda f: f.write_text("[" * 3000), "nested more than 100 deep"),
    "no mapping for a plug-in": (lambda f: write(f, {"exec": "aws"}, NOWHERE), "exec must be a mapping"),
    "no mapping for a provider": (lambda f: write(f, {"auth-provider": "oidc"}, NOWHERE), "auth-provider must be"),
    "another's identity": (lambda f: write(f, {"token": "t", "as": "jane"}, NOWHERE), "impersonation is not supported"),
    **{
        f"a number for {key}": (lambda f, key=key: write(f, {key: 83}, NOWHERE), f"{key} must be text, not 83")
        for key in ("token", "tokenFile", "client-key", "client-certificate-data", "password")
    },
    "a number for the authority": (
        lambda f: write(f, {}, NOWHERE | {"certificate-authority": 5}),
        "certificate-authority must be text",
    ),
    "a word for the context": (lambda f: write(f, {}, NOWHERE, **{"current-context": False}), "must be text"),
}


def test_what_is_a_date_to_others_is_text(tmp_path):
    """As in kubectl; PyYAML's own reading of it ends in a traceback."""
    file = write(tmp_path / "config", {"token": "t"}, NOWHERE)
    file.write_text(file.read_text() + "preferences: {since: 2024-02-31}\n")
    KubeconfigLogin([file])


@pytest.mark.parametrize("what", BROKEN)
def test_a_kubeconfig_that_cannot_be_used_is_one_sentence(tmp_path, what, monkeypatch):
    breaks, words = BROKEN[what]
    file = write(tmp_path / "config", {}, {"server": "https://x"})
    breaks(file)
    monkeypatch.setenv("KUBECONFIG", str(file))

    async def enter() -> None:
        async with KubernetesApi("tests", KubeconfigLogin.from_environment()):
            pass

    with pytest.raises(LoginError) as caught:
        asyncio.run(enter())
    said = str(caught.value)
    assert words in said
    assert str(tmp_path) in said, "which file"
    assert "\n" not in said


@pytest.mark.parametrize("what", ["no YAML", "no plug-in"])
def test_both_programs_say_it(tmp_path, what):
    breaks, words = BROKEN[what]
    breaks(write(tmp_path / "config", {}, {"server": "https://x"}))
    environment = {"PATH": os.environ["PATH"], "KUBECONFIG": str(tmp_path / "config"), "WATCH_NAMESPACE": "default"}
    environment |= {"PF_API_KEY": "key-of-nobody", "PF_ESCROW_URL": "https://127.0.0.1:1"}
    for program in ("escrowctl list", "operator"):
        module, *arguments = program.split()
        command = [sys.executable, "-m", f"runtime.{module}", *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=ROOT, timeout=START_SECONDS)
        said = done.stdout + done.stderr
        assert done.returncode == 2, said
        assert words in said
        assert "Traceback" not in said


def test_where_no_kubeconfig_can_be_read_that_is_said(tmp_path):
    """As in an image, where nothing is installed that reads one."""
    write(tmp_path / "config", {}, {"server": "https://x"})
    source = "import sys; sys.modules['kubernetes_asyncio'] = None; sys.argv = ['escrowctl', 'list']; import runpy"
    source += "; runpy.run_module('runtime.escrowctl', run_name='__main__')"
    environment = {"PATH": os.environ["PATH"], "KUBECONFIG": str(tmp_path / "config")}
    command = [sys.executable, "-c", source]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=ROOT, timeout=START_SECONDS)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert (
        "the images read no kubeconfig: run this in a pod, or `pip install` it where the kubeconfig is" in done.stderr
    )


PAGES = {
    "a bad gateway": (
        502,
        "text/html",
        "<html><h1>502 Bad Gateway</h1></html>",
        ApiUnreachable,
        "502 Bad Gateway: no answer",
    ),
    "a login page": (200, "text/html", "<!DOCTYPE html><title>Sign in</title>", ApiUnreachable, "Sign in"),
    "a redirect": (302, "text/html", "", KubernetesError, "302 Found: no answer of an API server"),
    "a proxy's refusal": (403, "text/html", "<html>no</html>", KubernetesError, "403 Forbidden: no answer of an API"),
    "JSON of somebody else": (200, "application/json", '["x"]', ApiUnreachable, "no answer of an API server"),
    "a proxy that is full": (503, "text/plain", "busy", KubernetesError, "503 Service Unavailable: no answer"),
}


@pytest.mark.parametrize("what", PAGES)
def test_an_answer_that_is_no_api_servers_is_one_sentence(tmp_path, what):
    status, content_type, body, kind, words = PAGES[what]

    async def answer(_: web.Request) -> web.Response:
        headers = {"Location": "/login"} if status == 302 else {}
        return web.Response(status=status, text=body, content_type=content_type, headers=headers)

    async def ask() -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            server = {"server": f"http://127.0.0.1:{runner.addresses[0][1]}"}
            async with KubernetesApi("tests", KubeconfigLogin([write(tmp_path / "config", {}, server)])) as api:
                [one async for one in Listing(api, "/api/v1/namespaces", NAMED)]
        finally:
            await runner.cleanup()

    with pytest.raises(kind) as caught:
        asyncio.run(ask())
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
