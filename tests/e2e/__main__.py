"""`make e2e`: the checklist and the day 2 trials on a real cluster, and `dist/e2e/report.html` of what was seen.

The cluster is one of this machine's own, brought up and ended by the tests, or the one that E2E_KUBECONFIG names.
"""

import argparse
import ctypes
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from components.stack_values import ROOT
from tests.e2e import report

OUT = ROOT / "dist" / "e2e"
PR_SET_CHILD_SUBREAPER = 36
MARK = re.compile(r"@pytest\.mark\.(checklist|trial)\(")


def main() -> int:
    """pytest's exit code; the report is written whatever it is."""
    parser = argparse.ArgumentParser(prog="python -m tests.e2e", description=__doc__, epilog="Options are pytest's.")
    _, more = parser.parse_known_args()
    # A cluster's processes are orphans when they end: as their reaper we are told the processor time of all of them.
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="purpleflea-e2e-") as scratch:
        results = Path(scratch) / "results.json"
        words = ["-v", "-n", "2", "--dist", "loadgroup", "--e2e-results", f"{results}", *more]
        words += ["-m", "checklist or trial", *(f"{file}" for file in files())]
        code = subprocess.run([sys.executable, "-m", "pytest", *words], cwd=ROOT, check=False).returncode
        found = json.loads(results.read_text()) if results.exists() else []
    _reap()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    where = os.environ.get("E2E_KUBECONFIG", "a node of this machine's own")
    figures = [
        ["`make e2e`, wall time", f"{time.monotonic() - begun:.0f} s"],
        ["`make e2e`, processor time, the cluster's included", f"{used.ru_utime + used.ru_stime:.0f} s"],
        ["cluster", where],
    ]
    document = report.document(found, figures)
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "report.json").write_text(json.dumps(document, indent=1))
    (OUT / "report.html").write_text(report.page(document))
    print(report.text(document))
    print(OUT / "report.html")
    return code


def files() -> list[Path]:
    """Where tests bear a mark of the report."""
    return sorted(file for file in (ROOT / "tests").rglob("test_*.py") if MARK.search(file.read_text()))


def _reap() -> None:
    """Wait for what the run left behind: it is ending."""
    while True:
        try:
            os.wait()
        except ChildProcessError:
            return


if __name__ == "__main__":
    sys.exit(main())
