"""`python -m components.fly_update fly.toml`: brings a fly.toml of your own up to the stack's settings, in place.

What the stack says is set; your comments, your order and every key that the stack does not know stay. `[build]` is left
alone: it is about your own program.
"""

import argparse
import difflib
import sys
from collections.abc import MutableMapping, Sequence
from pathlib import Path
from typing import Any, Final

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import AoT, Array, InlineTable

from components.errors import BadInput
from components.manifests.fly_config import PROCESS_GROUP, fly_toml
from components.settings import BadSettings
from components.stack_values import ROOT, StackValues
from runtime.contract import ExitCode

_LEFT_ALONE: Final = ("app", "build")
_IDENTITY: Final = {"services": "internal_port", "ports": "port", "http_checks": "path", "checks": "path"}
"""Which entry of a list of tables is meant; in any other list the one that is for the agent's process group."""
_OVERRULES: Final = {"memory": "memory_mb", "cpus": "size"}
"""Of a `[[vm]]`: what flyctl reads instead of a key of ours, or before it."""
_SERVED_BOTH: Final = (
    "internal_port",
    "auto_stop_machines",
    "auto_start_machines",
    "min_machines_running",
    "concurrency",
)
"""What a `[[services]]` and `[http_service]` call by the same name."""

Table = MutableMapping[str, Any]


def updated(text: str, ours: str) -> str:
    """The file's text with the values of `ours`.

    Raises:
        BadInput: It is no TOML, another app's, or has what cannot go together with ours.
    """
    try:
        document = tomlkit.parse(text.replace("\r\n", "\n"))
    except TOMLKitError as error:
        raise BadInput(f"it is not TOML: {error}") from None
    wanted = tomlkit.parse(ours)
    app = document.get("app") or wanted["app"]
    if app != wanted["app"]:
        raise BadInput(
            f"it is the file of app {app!r}, the stack's is {wanted['app']!r}: set fly.app, or name that file"
        )
    if "mount" in document:
        raise BadInput("it has [mount]: call it [mounts]")
    document["app"] = app
    group = _group(document)
    _fit(wanted, document, group)
    _merge(document, {key: value for key, value in wanted.items() if key not in _LEFT_ALONE}, group)
    after = tomlkit.dumps(document)
    return after.replace("\n", "\r\n") if "\r\n" in text else after


def _group(document: Table) -> str:
    """The process group that is the agent: `app`, or the only one."""
    names = document.get("processes")
    if isinstance(names, AoT):
        raise BadInput("[[processes]] is a list: write one table [processes] of names and commands")
    if names and isinstance(names, MutableMapping) and PROCESS_GROUP not in names:
        if len(names) > 1:
            raise BadInput(f"processes are {', '.join(names)}: call the agent's {PROCESS_GROUP!r}")
        return next(iter(names))
    return PROCESS_GROUP


def _fit(wanted: Table, document: Table, group: str) -> None:
    """Say the same as the file says it: its service may be [http_service], and its parts those of a process group."""
    [service] = wanted["services"]
    if "http_service" in document:
        table = tomlkit.table()
        for key in _SERVED_BOTH:
            table[key] = service[key]
        table["force_https"] = True
        table["checks"] = service["http_checks"]
        del wanted["services"]
        wanted["http_service"] = service = table
    if document.get("processes"):
        for table in (service, wanted["mounts"], wanted["vm"][0], wanted["metrics"]):
            table["processes"] = [group]


def _merge(theirs: Table, ours: Table, group: str, at: str = "") -> None:
    for key, value in ours.items():
        found, where = theirs.get(key), f"{at}{key}"
        if found is None or (isinstance(value, AoT) and found == []):  # flyctl once wrote `http_checks = []`
            theirs.pop(key, None)
            theirs[key] = _plain(value) if isinstance(theirs, InlineTable) else value
        elif isinstance(value, AoT | MutableMapping):
            tables = value if isinstance(value, AoT) else [value]
            for each in tables:
                _merge_into(found, each, key, group, where)
        elif key != "processes" and found != value:
            theirs[key] = _plain(value)


def _plain(value: Any) -> Any:
    """Without its notes and layout; tomlkit has booleans bare already."""
    return value.unwrap() if hasattr(value, "unwrap") else value


def _merge_into(found: Any, table: Table, key: str, group: str, where: str) -> None:
    """Bring the one among the file's tables up to ours that is meant; flyctl takes one table for a list of one."""
    tables = [found] if isinstance(found, MutableMapping) else found
    if not isinstance(tables, list) or not all(isinstance(each, MutableMapping) for each in tables):
        raise BadInput(f"{where} is no table: write it as one")
    identity = _IDENTITY.get(key)
    if identity:
        same = [each for each in tables if each.get(identity) == table[identity]][:1]
    else:
        same = [each for each in tables if group in (each.get("processes") or [group])]
        if len(same) > 1:
            raise BadInput(f"{where} is not one table: the stack knows one")
    if not same:
        if isinstance(found, MutableMapping):
            raise BadInput(f"{where} is one table: write it as a list [[{where}]]")
        found.append(_plain(table) if isinstance(found, Array) else table)
        return
    [theirs] = same
    if key == "mounts":
        _same_volume(theirs, table)
    if key == "vm":
        for mine, overrules in _OVERRULES.items():
            if mine in table:
                theirs.pop(overrules, None)
    # A table that says no group is for all of them, and stays so; a service must say one.
    said = {name: value for name, value in table.items() if name != "processes" or key in ("services", "http_service")}
    _merge(theirs, said, group, f"{where}.")


def _same_volume(theirs: Table, ours: Table) -> None:
    """Raises `BadInput` where the next deploy would leave what is on the volume behind."""
    name, at = (theirs.get(key, ours[key]) for key in ("source", "destination"))
    if at != ours["destination"]:
        raise BadInput(
            f"mounts: {name} is mounted at {at}, the ledger belongs to {ours['destination']}, "
            "and a Machine has one volume"
        )
    if name != ours["source"]:
        raise BadInput(
            f"mounts: the volume is {name!r}, the stack's is {ours['source']!r}: flyctl would replace the Machine "
            f"by one with another volume; set fly.volume.name to {name!r}"
        )


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Update the file; 1 where `--check` finds a difference, 2 for what the user can mend."""
    parser = argparse.ArgumentParser(prog="python -m components.fly_update", description=__doc__)
    parser.add_argument("file", type=Path, help="your fly.toml")
    parser.add_argument("--stack", default="dev", help="name of the stack, as in Pulumi.<stack>.yaml (default: dev)")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 with a diff when it differs")
    options = parser.parse_args(arguments)
    try:
        before = options.file.read_bytes().decode()
        after = updated(before, fly_toml(StackValues.from_files(root, options.stack).settings()))
    except (OSError, UnicodeDecodeError, BadInput, BadSettings) as error:
        print(f"{options.file}: {error}", file=sys.stderr)
        return ExitCode.BAD_INPUT
    if options.check:
        old, new = (text.splitlines(keepends=True) for text in (before, after))
        sys.stdout.writelines(difflib.unified_diff(old, new, str(options.file), f"{options.file} (updated)"))
        return ExitCode.FAILED if before != after else ExitCode.OK
    if before != after:
        part = options.file.with_name(f".{options.file.name}.part")
        part.write_bytes(after.encode())
        part.replace(options.file)
    print(f"{options.file}: {'updated' if before != after else 'is up to date'}")
    return ExitCode.OK


if __name__ == "__main__":
    sys.exit(main())
