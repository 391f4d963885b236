"""Runs a Pulumi program with no engine and reads what it declares.

It stands on `pulumi.runtime.mocks.MockMonitor`, which is only half public: the SDK is pinned, and the tests run this
beside the stock mocks and the real engine.
"""

import asyncio
import contextvars
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pulumi
from pulumi.runtime import mocks, rpc
from pulumi.runtime.proto import engine_pb2, resource_pb2
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


ROOT_TYPE: Final = "pulumi:pulumi:Stack"
UNKNOWN: Final = Hidden("known only after `pulumi up`")
"""Stands where the program uses what only a real deployment would tell."""


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

    def make_urn(self, parent: str, type_: str, name: str) -> str:
        chain = parent.split("::")[2] if parent and ROOT_TYPE not in parent else ""
        kinds = f"{chain}${type_}" if chain else type_
        return f"urn:pulumi:{pulumi.get_stack()}::{pulumi.get_project()}::{kinds}::{name}"

    def RegisterResource(self, request: Any) -> Any:
        urn = self.make_urn(request.parent, request.type, request.name)
        self.declared.append(Declared(request.type, request.name, urn, _value(request.object)))
        answer = resource_pb2.RegisterResourceResponse(urn=urn)
        for known in ("apiVersion", "kind", "metadata", "input"):
            # As in a preview, what is left out is unknown to the program; and reading back all of it costs the most.
            if known in request.object.fields:
                answer.object.fields[known].CopyFrom(request.object.fields[known])
        return answer

    def RegisterResourceOutputs(self, request: Any) -> Any:
        if f"::{ROOT_TYPE}::" in request.urn:
            self.outputs = _value(request.outputs)
        return super().RegisterResourceOutputs(request)


class _Engine:
    """Shows what a program logs for people."""

    def Log(self, request: Any) -> None:
        if request.severity > engine_pb2.INFO:
            sys.stderr.write(f"{request.message}\n")


def record(
    program: Callable[[], None],
    *,
    project: str,
    stack: str,
    config: Mapping[str, str],
    secrets: Mapping[str, str],
    folder: Path | None = None,
) -> Recording:
    """Run `program` as Pulumi would and return what it declared.

    It has a thread, an event loop and Pulumi settings of its own, so that a program that the real engine is running can
    call it too. `config` and `secrets` are full keys (`purpleflea:hpa`) with values as the engine passes them; `folder`
    is where it would find `Pulumi.yaml`.
    """
    monitor = _Monitor()

    async def run() -> None:
        settings = pulumi.runtime.Settings(
            project, stack, monitor=monitor, engine=_Engine(), dry_run=True, root_directory=folder and str(folder)
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


def _value(wire: Any) -> Any:
    """A value as the program gave it, from Pulumi's wire format, which knows floats only and marks secrets."""
    if hasattr(wire, "fields"):
        fields = wire.fields
        if rpc._special_sig_key in fields and fields[rpc._special_sig_key].string_value == rpc._special_secret_sig:
            return Hidden(_value(fields["value"]))
        return {key: _value(item) for key, item in fields.items()}
    kind = wire.WhichOneof("kind")
    if kind == "struct_value":
        return _value(wire.struct_value)
    if kind == "list_value":
        return [_value(item) for item in wire.list_value.values]
    if kind == "string_value":
        return UNKNOWN if wire.string_value == rpc.UNKNOWN else wire.string_value
    if kind == "number_value":
        return int(wire.number_value) if wire.number_value.is_integer() else wire.number_value
    return wire.bool_value if kind == "bool_value" else None
