"""Serves the stand-in to the Pulumi engine, which starts it as `pulumi-resource-kubernetes`."""

import json
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import empty_pb2, json_format, struct_pb2
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc

from tests.engine_provider.api_server import MANAGER, ApiServer
from tests.engine_provider.configuration import differences
from tests.engine_provider.objects import (
    changes,
    is_ignored,
    must_be_replaced,
    pruned,
    waits_for_completion,
    waits_for_deletion,
    without_others_fields,
)

SIGNATURE = "4dabf18193072939515e22adb298388d"
"""Marks a wrapped value on Pulumi's wire; the only wrapped ones here are secrets."""


def manifest(struct: Any) -> dict[str, Any]:
    """The object in a message, its secrets laid open."""
    return _open(json_format.MessageToDict(struct))


def _open(value: Any) -> Any:
    if isinstance(value, dict):
        return _open(value["value"]) if SIGNATURE in value else {key: _open(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_open(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


class Provider(provider_pb2_grpc.ResourceProviderServicer):
    """One method for each step of a resource's life."""

    def __init__(self) -> None:
        kubeconfig = os.environ.get("STANDIN_KUBECONFIG")
        self._api = ApiServer(kubeconfig) if kubeconfig else None
        self._log = os.environ.get("STANDIN_LOG")
        self._upsert = False
        self._mutable: tuple[str, ...] = ()
        self._slow = {"Deployment": 0.3, "Job": 0.3}
        """Seconds that an operation takes, so that nothing comes in the right order by chance."""

    @contextmanager
    def _operation(self, name: str, request: Any, found: dict[str, Any], context: Any) -> Iterator[dict[str, Any]]:
        """One operation as two lines of the log, so that what overlapped and what waited can be told apart."""
        line = {"operation": name, "urn": request.urn, "kind": found["kind"], "name": found["metadata"]["name"]}
        self._note({**line, "moment": "begin"})
        time.sleep(self._slow.get(found["kind"], 0))
        try:
            yield line
        except RuntimeError as error:
            context.abort(grpc.StatusCode.UNKNOWN, str(error))
        self._note({**line, "moment": "end"})

    def _note(self, line: dict[str, Any]) -> None:
        if self._log:
            with Path(self._log).open("a") as log:
                log.write(json.dumps(line) + "\n")

    def GetPluginInfo(self, request: Any, context: Any) -> Any:
        return plugin_pb2.PluginInfo(version="4.34.2")

    def CheckConfig(self, request: Any, context: Any) -> Any:
        return provider_pb2.CheckResponse(inputs=request.news)

    def DiffConfig(self, request: Any, context: Any) -> Any:
        changed, replaced = differences(manifest(request.old_inputs or request.olds), manifest(request.news))
        some = provider_pb2.DiffResponse.DIFF_SOME if changed else provider_pb2.DiffResponse.DIFF_NONE
        return provider_pb2.DiffResponse(changes=some, diffs=changed, replaces=replaced)

    def Configure(self, request: Any, context: Any) -> Any:
        given = manifest(request.args)
        upsert = given.get("upsertExistingObjects") or os.environ.get("PULUMI_K8S_UPSERT_EXISTING_OBJECTS")
        self._upsert = upsert in (True, "true")
        self._mutable = ("Secret",) if given.get("enableSecretMutable") in (True, "true") else ()
        return provider_pb2.ConfigureResponse(acceptSecrets=True, supportsPreview=True)

    def Check(self, request: Any, context: Any) -> Any:
        return provider_pb2.CheckResponse(inputs=request.news)

    def Diff(self, request: Any, context: Any) -> Any:
        new = manifest(request.news)
        found = [
            (path, kind, must_be_replaced(new["kind"], path, self._mutable))
            for path, kind in changes(manifest(request.old_inputs), new)
            if not is_ignored(path, request.ignoreChanges)
        ]
        kinds = provider_pb2.PropertyDiff.Kind
        renamed = any(path in ("metadata.name", "metadata.namespace") for path, _, _ in found)
        some = provider_pb2.DiffResponse.DIFF_SOME if found else provider_pb2.DiffResponse.DIFF_NONE
        return provider_pb2.DiffResponse(
            changes=some,
            diffs=sorted({path.partition(".")[0] for path, _, _ in found}),
            replaces=[path for path, _, replace in found if replace],
            deleteBeforeReplace=not renamed,
            hasDetailedDiff=True,
            detailedDiff={
                path: provider_pb2.PropertyDiff(
                    kind=kinds.Value(f"{kind}_REPLACE" if replace else kind), inputDiff=True
                )
                for path, kind, replace in found
            },
        )

    def Create(self, request: Any, context: Any) -> Any:
        self._apply("create", request, request.properties, context)
        new = manifest(request.properties)["metadata"]
        identity = "/".join(filter(None, (new.get("namespace"), new["name"])))
        return provider_pb2.CreateResponse(id="" if request.preview else identity, properties=request.properties)

    def Update(self, request: Any, context: Any) -> Any:
        self._apply("update", request, request.news, context)
        return provider_pb2.UpdateResponse(properties=request.news)

    def _apply(self, operation: str, request: Any, struct: Any, context: Any) -> None:
        if request.preview:
            return
        new = manifest(struct)
        with self._operation(operation, request, new, context):
            if operation == "create" and waits_for_completion(new):
                raise RuntimeError(f"Job/{new['metadata']['name']}: timed out waiting for it to complete")
            if self._api:
                live = self._api.read(new)
                if operation == "create" and live and not self._upsert:
                    doing = "object is being deleted: " if "deletionTimestamp" in live["metadata"] else ""
                    raise RuntimeError(f"{doing}{new['kind']} {new['metadata']['name']!r} already exists")
                ignored = request.ignoreChanges if operation == "update" else ()
                self._api.apply(without_others_fields(new, live, ignored, MANAGER) if live else new)

    def Read(self, request: Any, context: Any) -> Any:
        declared = manifest(request.inputs)
        live = self._api.read(declared) if self._api else declared
        if live is None:
            return provider_pb2.ReadResponse()
        if live is declared or declared["kind"] == "Secret":  # whose `stringData` is written and never read
            return provider_pb2.ReadResponse(id=request.id, properties=request.properties, inputs=request.inputs)
        found = json_format.ParseDict(pruned(live, declared), struct_pb2.Struct())
        return provider_pb2.ReadResponse(id=request.id, properties=found, inputs=found)

    def Delete(self, request: Any, context: Any) -> Any:
        old = manifest(request.old_inputs)
        with self._operation("delete", request, old, context) as line:
            if waits := waits_for_deletion(old):
                self._note({**line, "moment": "wait"})
            if self._api:
                self._api.delete(old, wait=waits)
        return empty_pb2.Empty()

    def Cancel(self, request: Any, context: Any) -> Any:
        return empty_pb2.Empty()

    def Attach(self, request: Any, context: Any) -> Any:
        return empty_pb2.Empty()


def main() -> None:
    """Listen on loopback, tell the engine the port, serve until it ends."""
    server = grpc.server(ThreadPoolExecutor(max_workers=8))
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(Provider(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)  # the engine reads this line
    server.wait_for_termination()


if __name__ == "__main__":
    main()
