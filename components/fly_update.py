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
from tomlkit.items import AoT

from components.errors import BadInput
from components.manifests.fly_config import fly_toml
from components.settings import BadSettings
from components.stack_values import ROOT, StackValues
from runtime.contract import ExitCode

_LEFT_ALONE: Final = ("app", "build")
_IDENTITY: Final = {"services": "internal_port", "ports": "port", "http_checks": "path"}
"""Which entry of a list of tables is meant; in any other list it is the one at the same place."""

Table = MutableMapping[str, Any]


def updated(text: str, ours: str) -> str:
    """The file's text with the values of `ours`.

    Raises:
        BadInput: It is no TOML, another app's, or has what cannot go together with ours.
    """
    try:
        document = tomlkit.parse(text)
    except TOMLKitError as error:
        raise BadInput(f"it is not TOML: {error}") from None
    wanted = tomlkit.parse(ours)
    app = document.get("app", wanted["app"])
    if app != wanted["app"]:
        raise BadInput(
            f"it is the file of app {app!r}, the stack's is {wanted['app']!r}: set fly.app, or name that file"
        )
    if "http_service" in document:
        raise BadInput(
            "it has [http_service], the stack writes [[services]]: flyctl would serve both; keep one of them"
        )
    document.setdefault("app", wanted["app"])
    _merge(document, {key: value for key, value in wanted.items() if key not in _LEFT_ALONE})
    return tomlkit.dumps(document)


def _merge(theirs: Table, ours: Table, at: str = "") -> None:
    for key, value in ours.items():
        found, where = theirs.get(key), f"{at}{key}"
        if found is None:
            theirs[key] = value
        elif isinstance(value, AoT):
            _merge_list(found, value, key, where)
        elif isinstance(value, MutableMapping):
            _merge(_only(found, where), value, f"{where}.")
        elif found != value:
            theirs[key] = value.unwrap()


def _only(found: Any, where: str) -> Table:
    """A table where flyctl also takes a list of one, as in `[[mounts]]`."""
    if isinstance(found, AoT) and len(found) == 1:
        return found[0]
    if not isinstance(found, MutableMapping):
        raise BadInput(f"{where} is not one table: the stack knows one")
    return found


def _merge_list(found: Any, ours: AoT, key: str, where: str) -> None:
    if not isinstance(found, AoT):
        raise BadInput(f"{where} is no list of tables [[{where}]]: write it as one")
    identity = _IDENTITY.get(key)
    for place, table in enumerate(ours):
        if identity:
            same = next((each for each in found if each.get(identity) == table[identity]), None)
        else:
            same = found[place] if place < len(found) else None
        if same is None:
            found.append(table)
        else:
            _merge(same, table, f"{where}.")


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Update the file; 1 where `--check` finds a difference, 2 for what the user can mend."""
    parser = argparse.ArgumentParser(prog="python -m components.fly_update", description=__doc__)
    parser.add_argument("file", type=Path, help="your fly.toml")
    parser.add_argument("--stack", default="dev", help="name of the stack, as in Pulumi.<stack>.yaml (default: dev)")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 with a diff when it differs")
    options = parser.parse_args(arguments)
    try:
        before = options.file.read_text(encoding="utf-8")
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
        part.write_text(after, encoding="utf-8")
        part.replace(options.file)
    print(f"{options.file}: {'updated' if before != after else 'is up to date'}")
    return ExitCode.OK


if __name__ == "__main__":
    sys.exit(main())
