"""The API's description, made from the same tables that route it."""

import re
from collections.abc import Iterable
from typing import Any

from runtime.sandbox.rest import RestOperation

_REFUSAL = {
    "type": "object",
    "required": ["error"],
    "properties": {"error": {"type": "string"}, "message": {"type": "string"}},
}


def describe(operations: Iterable[RestOperation]) -> dict[str, Any]:
    """An OpenAPI 3.1 document; dialects are tags."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Purple Flea sandbox",
            "version": "1",
            "description": "Escrow and faucet on one ledger, in the dialects that the tags name.",
        },
        "paths": paths,
        "components": {
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
            "schemas": {"Refusal": _REFUSAL},
        },
    }


def _operation(operation: RestOperation) -> dict[str, Any]:
    parameters = [_parameter(name, "path") for name in re.findall(r"{(\w+)}", operation.path)]
    parameters += [_parameter(name, "query") for name in operation.query]
    described: dict[str, Any] = {
        "operationId": f"{operation.dialect}-{operation.name}",
        "tags": [operation.dialect],
        "parameters": parameters,
        "responses": {str(operation.success): _answer(operation)}
        | {str(status): _refusal() for status in operation.refusals},
    }
    if operation.request:
        described["requestBody"] = {"required": bool(operation.required), "content": _json(_body(operation))}
    if operation.needs_key:
        described["security"] = [{"key": []}]
    return described


def _parameter(name: str, place: str) -> dict[str, Any]:
    schema = (
        {"type": "integer", "minimum": 0, "maximum": 10**9 - 1} if name in ("limit", "offset") else {"type": "string"}
    )
    return {"name": name, "in": place, "required": place == "path", "schema": schema}


def _body(operation: RestOperation) -> dict[str, Any]:
    return {"type": "object", "properties": operation.request, "required": list(operation.required)}


def _answer(operation: RestOperation) -> dict[str, Any]:
    properties = {name: {"type": kind} for name, kind in operation.answer.items()}
    schema = {"type": "object", "required": list(properties), "properties": properties}
    return {"description": "Done", "content": _json(schema)}


def _refusal() -> dict[str, Any]:
    return {"description": "Refused", "content": _json({"$ref": "#/components/schemas/Refusal"})}


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}
