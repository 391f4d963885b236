"""After a run with few failures: run those once more, alone. `python -m tests.again`

Many tests start real servers and operators beside each other on two cores. One that fails then and passes alone waits
for a moment instead of a state, or the code under it has a race: either is a bug, and is printed as one. More than a
few failures are no coincidence, and are not run again.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Final

MOST: Final = 3
FAILED: Final = Path(".pytest_cache/v/cache/lastfailed")


def main() -> int:
    """Exit code 0 if everything that had failed passes now."""
    failed = sorted({_without_group(name) for name in json.loads(FAILED.read_text())}) if FAILED.exists() else []
    if not 0 < len(failed) <= MOST:
        return 1
    print(f"\n== {len(failed)} failed; once more, alone:", *failed, sep="\n", flush=True)
    code = subprocess.run([sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *failed], check=False).returncode
    if code == 0:
        print("\n== FLAKY, to be mended:", *failed, sep="\n", flush=True)
    return code


def _without_group(name: str) -> str:
    """A test's name without the group that it was run in."""
    return name.rpartition("@")[0] if name.rfind("@") > name.rfind("]") else name


if __name__ == "__main__":
    sys.exit(main())
