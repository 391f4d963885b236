"""Runs a Pulumi program with no engine and reads what it declares.

It stands on `pulumi.runtime.mocks.MockMonitor`, which is only half public: the SDK is pinned, and the tests run this
beside the stock mocks and the real engine.
"""

import asyncio
import contextvars
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi.runtime import mocks, rpc
from pulumi.runtime.proto import resource_pb2
from pulumi.runtime.stack import run_in_stack


@dataclass(frozen=True, slots=True)
class Declared:
    """One resource as the program declared it: inputs resolved, secrets still wrapped in `Hidden`."""

    type: str
    name: str
    urn: str
    inputs: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Hidden:
    """A value that Pulumi would keep secret."""

    value: Any


@dataclass(frozen=True, slots=True)
class Recording:
    """Everything a program declared, in the order of registration, and its stack outputs."""

    resources: tuple[Declared, ...]
    outputs: Mapping[str, Any]


class _Monitor(mocks.MockMonitor):
    def __init__(self) -> None:
        super().__init__(mocks=None)  # ty: ignore[invalid-argument-type]  # every call that would ask it is below
        self.declared: list[Declared] = []
        self.outputs: Mapping[str, Any] = {}

    def RegisterResource(self, request: Any) -> Any:
        urn = self.make_urn(request.parent, request.type, request.name)
        inputs = _plain(rpc.deserialize_properties(request.object))
        self.declared.append(Declared(request.type, request.name, urn, inputs))
        return resource_pb2.RegisterResourceResponse(urn=urn, id=request.name, object=request.object)

    def RegisterResourceOutputs(self, request: Any) -> Any:
        if "::pulumi:pulumi:Stack::" in request.urn:
            self.outputs = _plain(rpc.deserialize_properties(request.outputs))
        return super().RegisterResourceOutputs(request)


def record(
    program: Callable[[], None], *, project: str, stack: str, config: Mapping[str, str], secrets: Mapping[str, str]
) -> Recording:
    """Run `program` as Pulumi would and return what it declared.

    It has a thread, an event loop and Pulumi settings of its own, so that a program that the real engine is running can
    call it too. `config` and `secrets` are full keys (`purpleflea:hpa`) with values as the engine passes them.
    """
    monitor = _Monitor()

    async def run() -> None:
        settings = pulumi.runtime.Settings(
            project, stack, monitor=monitor, engine=mocks.MockEngine(_QUIET), dry_run=False
        )
        pulumi.runtime.configure(settings)
        pulumi.runtime.set_all_config({**config, **secrets}, list(secrets))
        await run_in_stack(program)

    failure: list[BaseException] = []

    def thread() -> None:
        try:
            contextvars.Context().run(asyncio.run, run())
        except BaseException as error:  # carried over to the caller's thread, whatever it is
            failure.append(error)

    worker = threading.Thread(target=thread, name="record-pulumi-program")
    worker.start()
    worker.join()
    if failure:
        raise failure[0]
    return Recording(tuple(monitor.declared), monitor.outputs)


_QUIET = logging.getLogger(__name__)


def _plain(value: Any) -> Any:
    """Without what the wire format adds: whole numbers are integers again, secrets are `Hidden`."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        if rpc.is_rpc_secret(value):
            return Hidden(_plain(rpc.unwrap_rpc_secret(value)))
        return {key: _plain(item) for key, item in value.items()}
    return value
