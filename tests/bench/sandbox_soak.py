"""Thousands of escrows through a sandbox that misbehaves and is killed: is every cent still accounted for?"""

import os
import tempfile
from pathlib import Path

from tests.runtime.sandbox.soak import Soak, failings, run


def main() -> None:
    """Print what was done and what was found; `SOAK_ESCROWS` and `SOAK_KILLS` make it longer or shorter."""
    soak = Soak(wanted=int(os.environ.get("SOAK_ESCROWS", "3000")))
    with tempfile.TemporaryDirectory() as scratch:
        document = run(soak, Path(scratch) / "ledger.db", kills=int(os.environ.get("SOAK_KILLS", "12")), traders=8)
    found = failings(soak, document)
    states = [escrow["status"] for escrow in document["escrows"]]
    rows = {
        "escrows": f"{len(states)} of {soak.wanted} wanted",
        "by status": ", ".join(f"{states.count(status)} {status}" for status in sorted(set(states))),
        "calls": f"{soak.calls} ({soak.calls / soak.seconds:.0f}/s)",
        "faults injected": str(soak.faults),
        "kill -9": str(soak.kills),
        "ledger entries": str(document["entries"][-1]["entry"]),
        "seconds": f"{soak.seconds:.1f}",
        "found wrong": str(len(found)),
    }
    for name, value in rows.items():
        print(f"{name:18}{value}")
    for line in found[:20]:
        print(f"  {line}")
    if found:
        raise SystemExit(1)
