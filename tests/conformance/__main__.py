"""`python -m tests.conformance COMMAND [ARGUMENT ...]`: holds an agent in any language to every check.

The command starts the agent, which finds everything it is told in its environment, as docs/fly.md lists it: a sandbox,
a model, a volume, two ports. `python -m tests.conformance http://HOST:PORT` asks an agent that is running already, and
can check only what needs no hold on its surroundings: it bills four inferences.
"""

import re
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from tests.conformance import surface
from tests.conformance.checks import CHECKS
from tests.conformance.world import world


def main(arguments: list[str]) -> int:
    """Returns 0 when every check holds."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(__doc__)
        return 0 if arguments else 2
    if re.match("https?://", arguments[0]):
        with httpx.Client(base_url=arguments[0].rstrip("/"), timeout=60) as http:
            return _report([(check, http) for check in surface.CHECKS])
    with (
        tempfile.TemporaryDirectory(prefix="conformance-") as folder,
        world(arguments, Path(folder, "volume")) as built,
    ):
        built.start()
        return _report([(check, built.http) for check in surface.CHECKS] + [(check, built) for check in CHECKS])


def _report(checks: list[tuple[Callable[[Any], None], Any]]) -> int:
    failed = 0
    for check, subject in checks:
        try:
            check(subject)
            print(f"ok    {check.__name__}", flush=True)
        except Exception:
            failed += 1
            print(f"FAIL  {check.__name__}\n{traceback.format_exc(limit=3)}", flush=True)
    print(f"{len(checks) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
