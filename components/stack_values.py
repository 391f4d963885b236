"""A stack's configuration as text, from `Pulumi.<stack>.yaml` or from the engine, and its way into settings."""

import difflib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_origin

from components.errors import BadInput
from components.manifests import overrides
from components.settings import BadSettings, Problem, Settings
from components.settings.description import describe
from components.stack_yaml import StackYamlError, as_text, load

API_KEY = "apiKey"
"""The one secret of a stack: `pulumi config set --secret apiKey`. Everything else in a stack file is public."""

ROOT = Path(__file__).parent.parent
PROJECT_FILE = "Pulumi.yaml"
_SECTIONS = ("config", "environment", "secretsprovider", "encryptedkey", "encryptionsalt")
"""Of a stack file; the engine knows no other."""
_STACK_NAME = re.compile(r"[A-Za-z0-9_.-]{1,100}")


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
        if not _STACK_NAME.fullmatch(stack) or not path.is_file():
            names = sorted(p.name[len("Pulumi.") : -len(".yaml")] for p in root.glob("Pulumi.*.yaml"))
            raise BadInput(f"there is no stack {stack!r}: {path.name} does not exist; stacks: {', '.join(names)}")
        project = _mapping(root / PROJECT_FILE)
        name = str(project.get("name", ""))
        declared = project.get("config") or {}
        defaults = {key: d["default"] for key, d in declared.items() if isinstance(d, Mapping) and "default" in d}
        own = {**_prefixed(defaults, name, root / PROJECT_FILE), **_prefixed(_config(path, name), name, path)}
        secret = frozenset(key for key, value in own.items() if _holds_secret(value))
        values = {key: "" if key in secret or value is None else as_text(value) for key, value in own.items()}
        return cls(name, stack, values, secret)

    def settings(self) -> Settings:
        """The stack's settings; raises `BadSettings` with every mistake at once."""
        fields = {info.alias or name: info.annotation for name, info in Settings.model_fields.items()}
        own = {key.partition(":")[2]: text for key, text in self.values.items() if self._is_own(key)}
        problems = [
            *self._misspelt(),
            *(
                Problem(f"{self.project}.{key}", f"is encrypted, but only {self.project}.{API_KEY} may be a secret")
                for key in own
                if f"{self.project}:{key}" in self.secret_keys and key != API_KEY
            ),
        ]
        if own.pop(API_KEY, "") and f"{self.project}:{API_KEY}" not in self.secret_keys:
            remedy = (
                f"remove it there, then `pulumi config set --secret {API_KEY}`, and revoke the key if it was shared"
            )
            problems.append(Problem(f"{self.project}.{API_KEY}", f"stands in plain text in the stack file; {remedy}"))
        if problems:
            raise BadSettings(problems)
        settings = Settings.parse({key: _value(text, fields.get(key)) for key, text in own.items()}, deployed=True)
        overrides.check(settings)
        return settings

    def _misspelt(self) -> list[Problem]:
        """Keys whose prefix is nearly the project's: the engine takes them for another package's, and says nothing."""
        prefixes = [
            (key, key.partition(":")[0].lower().replace("-", "")) for key in self.values if not self._is_own(key)
        ]
        return [
            Problem(key, f"unknown prefix; did you mean {self.project}:{key.partition(':')[2]}?")
            for key, prefix in prefixes
            if difflib.get_close_matches(prefix, [self.project], n=1, cutoff=0.85)
        ]

    def with_value(self, key: str, text: str) -> "StackValues":
        """The same stack with one key of the project changed."""
        return replace(self, values={**self.values, f"{self.project}:{key}": text})

    def _is_own(self, key: str) -> bool:
        return key.partition(":")[0] == self.project


def read_yaml(path: Path) -> Any:
    """What a file says, read as the engine reads a stack file.

    Raises:
        BadInput: it cannot be read, or is no YAML; the message names the file.
    """
    try:
        return load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} is not UTF-8 text: {error.reason} at byte {error.start}") from error
    except StackYamlError as error:
        raise BadInput(f"{path} is not valid YAML: {error}") from error


def _mapping(path: Path) -> Mapping[str, Any]:
    value = read_yaml(path)
    if not isinstance(value, Mapping | None):
        raise BadInput(f"{path}: a mapping with the key `config` is needed, not {_kind(value)}")
    return value or {}


def check_stack_file(path: Path, project: str) -> Mapping[str, Any]:
    """The sections of a stack file.

    Raises:
        BadInput: it has an unknown section, or no `config`: the engine passes over both and would take the defaults.
    """
    sections = _mapping(path)
    for section in sections:
        if section not in _SECTIONS:
            raise BadInput(f"{path}: {section}: {_misplaced(section, project)}")
    config = sections.get("config")
    if config is None and not sections.get("environment"):
        raise BadInput(f"{path}: `config` is missing or empty; write `config: {{}}` for a stack of defaults")
    if not isinstance(config, Mapping | None):
        raise BadInput(f"{path}: `config` must be a mapping of keys, not {_kind(config)}")
    return sections


def _config(path: Path, project: str) -> Mapping[str, Any]:
    sections = check_stack_file(path, project)
    if sections.get("environment"):
        raise BadInput(
            f"{path}: environment: only the engine with Pulumi Cloud can resolve it (`pulumi preview`, `pulumi up`); "
            "for this command write the values below `config`"
        )
    return sections["config"]


def _prefixed(config: Mapping[str, Any], project: str, path: Path) -> dict[str, Any]:
    """Full keys: one without a prefix is the project's own."""
    found: dict[str, Any] = {}
    for key, value in config.items():
        full = key if ":" in key else f"{project}:{key}"
        if full in found:
            raise BadInput(f"{path}: config: {full!r} stands twice, with its prefix and without")
        found[full] = value
    return found


def _misplaced(section: str, project: str) -> str:
    near = difflib.get_close_matches(section, _SECTIONS, n=1)
    if near:
        return f"unknown section; did you mean {near[0]}?"
    _, colon, name = section.partition(":")
    keys = [key.name for key in describe(Settings).keys]
    if section == project or (name if colon else section) in keys:
        shown = f"{project}:KEY" if section == project else section if colon else f"{project}:{section}"
        return f"settings stand below `config`, each with the project's name before it: `config: {{{shown}: ...}}`"
    return f"unknown section (allowed: {', '.join(_SECTIONS)})"


def _kind(value: Any) -> str:
    return "a list" if isinstance(value, list) else f"the {type(value).__name__} {str(value)[:40]!r}"


def _holds_secret(value: Any) -> bool:
    if isinstance(value, Mapping):
        alone = {*value} == {"secure"} and isinstance(value["secure"], str)
        return alone or any(_holds_secret(item) for item in value.values())
    return isinstance(value, list) and any(_holds_secret(item) for item in value)


def _value(text: str, annotation: Any) -> Any:
    """Back from the engine's text, by the type that the settings expect."""
    if annotation is str or get_origin(annotation) is Literal:
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text
