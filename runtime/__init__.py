"""The code the images ship: payments, settlement and the programs built on them."""

import sys
from pathlib import Path
from types import TracebackType
from typing import Final

_NEEDED: Final = Path(__file__).parents[1] / "requirements" / "runtime.txt"


def not_installed(error: BaseException) -> str:
    """What to do where a package is not there, e.g. in a clone that has only rendered; empty for any other error."""
    if not isinstance(error, ModuleNotFoundError) or not error.name or error.name.partition(".")[0] == __name__:
        return ""
    which = f"--require-hashes -r {_NEEDED}" if _NEEDED.exists() else "purpleflea"
    return f"the module {error.name} is not installed here: {sys.executable} -m pip install {which}"


def _say(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """In place of a traceback; the program has imported too little to have a log."""
    if not (words := not_installed(error)):
        sys.__excepthook__(kind, error, trace)
        return
    sys.stderr.write(f"{words}\n")
    raise SystemExit(2)  # the contract's for what a restart cannot mend


if sys.argv[:1] == ["-m"]:  # so it is while Python looks for the program of `python -m runtime...`
    sys.excepthook = _say
