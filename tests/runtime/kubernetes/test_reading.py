"""Lists, watches and writes against a real API server: bounded in bytes, and under our own name."""

import asyncio
import contextlib
import logging
import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from aiohttp import web
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import ConfigMap
from lightkube.types import PatchType

from runtime.kubernetes.client import KubernetesApi
from runtime.kubernetes.connection import PodLogin
from runtime.kubernetes.errors import ApiUnreachable, ApiUntrusted, LoginError, TooLarge
from runtime.kubernetes.finalizers import add_finalizer, remove_finalizer
from runtime.kubernetes.kubeconfig import KubeconfigLogin
from runtime.kubernetes.listing import PAGE, Listing
from runtime.kubernetes.shape import NAMED, Metadata
from runtime.kubernetes.watch import watch
from tests.toolchain.certificates import Authority

LARGE, COUNT = 900_000, 12


@pytest.fixture
def collection(namespace) -> str:
    return f"/api/v1/namespaces/{namespace.name}/configmaps"


def with_api(cluster, work):
    async def run():
        async with KubernetesApi("purpleflea-tests", KubeconfigLogin([cluster.kubeconfig])) as api:
            return await work(api)

    return asyncio.run(run())


def at_port(folder: Path, port: int) -> KubeconfigLogin:
    """By a kubeconfig of a server that asks nobody who they are."""
    context = "contexts: [{name: c, context: {cluster: c}}]\ncurrent-context: c\n"
    file = folder / "config"
    file.write_text(f"clusters: [{{name: c, cluster: {{server: 'http://127.0.0.1:{port}'}}}}]\n{context}")
    return KubeconfigLogin([file])


def make(namespace, name: str, **content: object) -> None:
    namespace.client.create(ConfigMap(metadata=ObjectMeta(name=name, **content.pop("metadata", {})), **content))


def test_a_page_that_is_too_large_is_halved_until_it_fits(namespace, control_plane, collection):
    """Twelve megabytes, of which four are read at a time; blanks, which a compressed answer would hide."""
    names = [f"large-{number:02d}" for number in range(COUNT)]
    for name in names:
        make(namespace, name, data={"all": " " * LARGE})

    async def read(api):
        selectors = {"fieldSelector": "metadata.name!=kube-root-ca.crt"}
        found = [[one.metadata.name async for one in Listing(api, collection, NAMED, selectors)] for _ in range(2)]
        return found, api.page_sizes[collection]

    (first, second), size = with_api(control_plane, read)
    assert first == second == names
    assert 1 <= size * LARGE <= 8 << 20, "what fitted is where the next list begins"


def test_a_page_grows_again_once_the_objects_are_small(namespace, control_plane, collection):
    for number in range(40):
        make(namespace, f"small-{number:02d}")

    async def read(api):
        api.page_sizes[collection] = 1
        return len([one async for one in Listing(api, collection, NAMED)]), api.page_sizes[collection]

    count, size = with_api(control_plane, read)
    assert count >= 40
    assert size > 16
    assert size <= PAGE


def test_one_object_that_is_larger_than_anything_is_refused_not_read(namespace, control_plane, collection):
    make(namespace, "large", data={"all": " " * LARGE})
    with pytest.raises(TooLarge, match="more than 1000 bytes"):
        with_api(control_plane, lambda api: api.request("GET", f"{collection}/large", most_bytes=1000))


def test_only_the_metadata_is_asked_for(namespace, control_plane, collection):
    make(namespace, "large", data={"all": "x" * LARGE})

    async def read(api):
        listing = Listing(api, collection, NAMED, only_metadata=True)
        return [one.metadata.name async for one in listing], api.page_sizes

    names, sizes = with_api(control_plane, read)
    assert "large" in names
    assert sizes == {}, "nothing was large"


def test_every_write_bears_our_name(namespace, control_plane, collection):
    async def write(api):
        await api.create(collection, {"metadata": {"name": "ours"}, "data": {"z": "y"}})
        await api.merge_patch(f"{collection}/ours", {"data": {"a": "b"}})
        await api.edit_metadata(f"{collection}/ours", {"labels": {"c": "d"}})
        await add_finalizer(api, f"{collection}/ours", (await api.get(f"{collection}/ours", NAMED)).metadata)

    with_api(control_plane, write)
    found = namespace.client.get(ConfigMap, "ours")
    assert {entry.manager for entry in found.metadata.managedFields} == {"purpleflea-tests"}
    namespace.client.patch(ConfigMap, "ours", {"metadata": {"finalizers": None}}, patch_type=PatchType.MERGE)


def test_a_finalizer_is_edited_whatever_others_write_meanwhile(namespace, control_plane, collection):
    make(namespace, "held", metadata={"finalizers": ["example.com/theirs"]})

    async def edit(api):
        path = f"{collection}/held"
        before = (await api.get(path, NAMED)).metadata
        added = [await add_finalizer(api, path, before), await add_finalizer(api, path, before)]
        held = (await api.get(path, NAMED)).metadata
        await api.edit_metadata(path, {"labels": {"somebody": "else"}})
        removed = [await remove_finalizer(api, path, held), await remove_finalizer(api, path, held)]
        other = Metadata(name="held", uid="another", resource_version="1", finalizers=held.finalizers)
        strange = await remove_finalizer(api, path, other)
        gone = await remove_finalizer(api, f"{collection}/gone", held)
        return added, held.finalizers, removed, strange, gone, (await api.get(path, NAMED)).metadata.finalizers

    added, held, removed, strange, gone, left = with_api(control_plane, edit)
    assert [written and written.finalizers for written in (*added, *removed)] == [held, None, left, None]
    assert (strange, gone) == (None, None)
    assert held == ("example.com/theirs", "purpleflea.com/settlement")
    assert left == ("example.com/theirs",)
    namespace.client.patch(ConfigMap, "held", {"metadata": {"finalizers": None}}, patch_type=PatchType.MERGE)


def test_a_watch_tells_all_that_is_there_and_then_what_changes(namespace, control_plane, collection):
    make(namespace, "first")
    seen: asyncio.Queue = asyncio.Queue()

    async def run(api):
        shape = NAMED.then(lambda one, gone: (one.metadata.name, gone))
        watching = asyncio.create_task(watch(api, collection, shape, seen.put_nowait, fieldSelector=NOT_KUBES))
        found = [await seen.get()]
        await api.create(collection, {"metadata": {"name": "second"}})
        found.append(await seen.get())
        await api.delete(f"{collection}/first", (await api.get(f"{collection}/first", NAMED)).metadata.uid)
        found.append(await seen.get())
        watching.cancel()
        return found

    assert with_api(control_plane, run) == [("first", False), ("second", False), ("first", True)]


NOT_KUBES = "metadata.name!=kube-root-ca.crt"


def test_an_object_that_cannot_be_read_is_named_once_and_all_others_are_told(
    namespace, control_plane, collection, caplog
):
    for name in ("bad", "fine"):
        make(namespace, name)

    def picky(one, _gone):
        if one.metadata.name == "bad":
            raise ValueError("it is bad")
        return one.metadata.name

    async def read(api):
        listings = [Listing(api, collection, NAMED.then(picky), {"fieldSelector": NOT_KUBES}) for _ in range(2)]
        found = [[name async for name in listing] for listing in listings]
        return found, [len(listing.malformed) for listing in listings]

    with caplog.at_level(logging.ERROR):
        found, counts = with_api(control_plane, read)
    assert (found, counts) == ([["fine"], ["fine"]], [1, 1])
    named = [record.message for record in caplog.records if "cannot be read" in record.message]
    assert named == [f"object {namespace.name}/bad cannot be read and is left alone: it is bad"]


def test_a_server_that_ends_every_watch_at_once_is_not_asked_without_a_pause(tmp_path, caplog):
    asked: list[str] = []
    enough = asyncio.Event()

    async def answer(request: web.Request) -> web.Response:
        if "watch" in request.query:
            asked.append(request.query["resourceVersion"])
            if len(asked) == 3:
                enough.set()
            return web.Response()
        return web.json_response({"metadata": {"resourceVersion": "7"}, "items": []})

    async def run() -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        async with KubernetesApi("tests", at_port(tmp_path, runner.addresses[0][1])) as api:
            watching = asyncio.create_task(watch(api, "/x", NAMED, lambda _: None))
            await enough.wait()
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching
        await runner.cleanup()

    asyncio.run(run())
    assert asked == ["7"] * 3, "it goes on from the version it has"
    assert [r.message.split(" s: ")[1] for r in caplog.records if "goes on" in r.message] == [
        "WATCH /x: it ended at once"
    ] * 2


def test_a_read_that_meets_the_end_of_its_connection_is_read_again_and_a_write_is_not(tmp_path):
    """A server that ends each connection when the second request comes; whether it acted on it, nobody knows."""
    asked: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for ends in (False, True):
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", head)
            await reader.readexactly(int(length[1]) if length else 0)
            asked.append(head.split()[0].decode())
            if not ends:
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 31\r\n\r\n" + b'{"metadata": {"name": "there"}}')
        writer.close()

    async def ask() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server, KubernetesApi("tests", at_port(tmp_path, port)) as api:
            for _ in range(2):
                assert (await api.get("/one", NAMED)).metadata.name == "there"
            with pytest.raises(ApiUnreachable, match="the connection was closed"):
                await api.merge_patch("/one", {})

    asyncio.run(ask())
    assert asked == ["GET", "GET", "GET", "PATCH"]


def test_a_pod_reads_its_token_again_when_it_is_refused(namespace, control_plane, tmp_path):
    """The kubelet rotates it."""
    from tests.runtime.operator.world import _mounted

    folder = _mounted(namespace.kubeconfig_for("default"), namespace.name)
    fresh = (folder / "token").read_text()
    host, _, port = control_plane.url.removeprefix("https://").partition(":")
    environment = {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port}
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}

    async def ask() -> tuple[str, str]:
        (folder / "token").write_text("of yesterday")
        async with KubernetesApi("tests", PodLogin(folder, environment)) as api:
            (folder / "token").write_text(fresh + "\n")
            found = await api.create("/apis/authentication.k8s.io/v1/selfsubjectreviews", review)
            return api.namespace, found["status"]["userInfo"]["username"]

    assert asyncio.run(ask()) == (namespace.name, f"system:serviceaccount:{namespace.name}:default")
    (folder / "token").unlink()
    with pytest.raises(LoginError, match=r"token cannot be read"):
        asyncio.run(ask_without(folder, environment))


def test_an_authority_that_has_changed_is_no_mere_outage(control_plane, tmp_path):
    """The one that was read at start is not the API server's any more: a new process reads it anew."""
    Authority(tmp_path, "ca")
    (tmp_path / "token").write_text("any")
    url = urlsplit(control_plane.url)
    environment = {"KUBERNETES_SERVICE_HOST": url.hostname, "KUBERNETES_SERVICE_PORT": f"{url.port}"}

    async def ask() -> None:
        async with KubernetesApi("tests", PodLogin(tmp_path, environment)) as api:
            await api.request("GET", "/version")

    with pytest.raises(ApiUntrusted):
        asyncio.run(ask())


async def ask_without(folder, environment) -> None:
    async with KubernetesApi("tests", PodLogin(folder, environment)):
        pass
