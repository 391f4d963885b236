"""A stack's configuration as text, from `Pulumi.<stack>.yaml` or from the engine, and its way into settings."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_origin

import yaml

from components.errors import BadInput
from components.settings import Problem, Settings, SettingsError

API_KEY = "apiKey"
"""The one secret of a stack: `pulumi config set --secret apiKey`. Everything else in a stack file is public."""

ROOT = Path(__file__).parent.parent
PROJECT_FILE = "Pulumi.yaml"
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_STACK_NAME = re.compile(r"^[A-Za-z0-9_.-]{1,100}$")


@dataclass(frozen=True, slots=True)
class StackValues:
    """Full keys (`purpleflea:hpa`) with values as the engine hands them to a program: objects are JSON."""

    project: str
    stack: str
    values: Mapping[str, str]
    secret_keys: frozenset[str] = frozenset()

    @classmethod
    def from_files(cls, root: Path, stack: str) -> "StackValues":
        """Read `Pulumi.yaml` and `Pulumi.<stack>.yaml` below `root`.

        Raises:
            BadInput: no such stack (the message lists those that exist), or a file that cannot be used.
        """
        path = root / f"Pulumi.{stack}.yaml"
        if not _STACK_NAME.match(stack) or not path.is_file():
            names = sorted(p.name[len("Pulumi.") : -len(".yaml")] for p in root.glob("Pulumi.*.yaml"))
            raise BadInput(f"there is no stack {stack!r}: {path.name} does not exist; stacks: {', '.join(names)}")
        project_file = root / PROJECT_FILE
        project = _mapping(project_file)
        name = str(project.get("name", ""))
        declared = project.get("config") or {}
        defaults = {key: d["default"] for key, d in declared.items() if isinstance(d, Mapping) and "default" in d}
        config = _mapping(path).get("config") or {}
        if not isinstance(config, Mapping):
            raise BadInput(f"{path}: `config` must be a mapping of keys, not {_kind(config)}")
        given = {key: value for key, value in {**defaults, **config}.items() if value is not None}
        own = {key if ":" in str(key) else f"{name}:{key}": value for key, value in given.items()}
        secret = frozenset(key for key, value in own.items() if _holds_secret(value))
        values = {key: "" if key in secret else _engine_text(value) for key, value in own.items()}
        return cls(name, stack, values, secret)

    def settings(self) -> Settings:
        """The stack's settings; raises `SettingsError` with every mistake at once."""
        fields = {info.alias or name: info.annotation for name, info in Settings.model_fields.items()}
        own = {key.partition(":")[2]: text for key, text in self.values.items() if self._is_own(key)}
        problems = [
            Problem(f"{self.project}.{key}", f"is encrypted, but only {self.project}.{API_KEY} may be a secret")
            for key in own
            if f"{self.project}:{key}" in self.secret_keys and key != API_KEY
        ]
        if own.pop(API_KEY, "") and f"{self.project}:{API_KEY}" not in self.secret_keys:
            remedy = (
                f"remove it there, then `pulumi config set --secret {API_KEY}`, and revoke the key if it was shared"
            )
            problems.append(Problem(f"{self.project}.{API_KEY}", f"stands in plain text in the stack file; {remedy}"))
        if problems:
            raise SettingsError(problems)
        return Settings.parse({key: _value(text, fields.get(key)) for key, text in own.items()})

    def with_value(self, key: str, text: str) -> "StackValues":
        """The same stack with one key of the project changed."""
        return replace(self, values={**self.values, f"{self.project}:{key}": text})

    def _is_own(self, key: str) -> bool:
        return key.partition(":")[0] == self.project


def _mapping(path: Path) -> Mapping[str, Any]:
    try:
        value = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 - a safe loader, in C
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} is not UTF-8 text: {error.reason} at byte {error.start}") from error
    except yaml.YAMLError as error:
        raise BadInput(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(value, Mapping | None):
        raise BadInput(f"{path}: a mapping with the key `config` is needed, not {_kind(value)}")
    return value or {}


def _kind(value: Any) -> str:
    return "a list" if isinstance(value, list) else f"the {type(value).__name__} {str(value)[:40]!r}"


def _holds_secret(value: Any) -> bool:
    if isinstance(value, Mapping):
        return {*value} == {"secure"} or any(_holds_secret(item) for item in value.values())
    return isinstance(value, list) and any(_holds_secret(item) for item in value)


def _engine_text(value: Any) -> str:
    """As the engine passes it: text as it is, everything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _value(text: str, annotation: Any) -> Any:
    """Back from the engine's text, by the type that the settings expect."""
    if annotation is str or get_origin(annotation) is Literal:
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text
