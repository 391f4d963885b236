"""The demo as its user runs it: what it prints is what the ledger holds, and it leaves nothing behind."""

import os
import re
import signal
import subprocess
import sys

import httpx
import pytest

from runtime.contract import ExitCode

DIALECTS = ("server", "kubernetes", "fly")
THIRD = {
    "fly": "NeedsReview",
    "server": "the answer to release was lost",
    "kubernetes": "the answer to release was lost",
}
SECOND = {"fly": "Cancelled", "server": "Disputed", "kubernetes": "Disputed"}


def demo(*arguments, **options):
    command = [sys.executable, "-m", "runtime.demo", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, **options)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_cent_that_is_printed_is_in_the_ledger_and_the_ledger_balances(dialect):
    ran = demo("--dialect", dialect, "--keep")
    url, pid = re.search(r"page: (http://\S+)/ - stop it with: kill (\d+)", ran.stdout).groups()
    try:
        statement = httpx.get(f"{url}/statement", trust_env=False, verify=False).json()
        assert "<html" in httpx.get(url, trust_env=False, verify=False).text
    finally:
        os.kill(int(pid), signal.SIGTERM)
    assert (ran.returncode, ran.stderr) == (ExitCode.OK, "")
    printed = re.findall(r"ledger: (\w+) +([\d.]+) +(\S+) -> (\S+)", ran.stdout)
    assert printed == [(e["role"], e["amount_usdc"], e["from"], e["to"]) for e in statement["entries"]]
    first, second, third = statement["escrows"]
    assert [first["status"], second["status"], third["status"]] == ["released", SECOND[dialect].lower(), "released"]
    assert (first["paid_usdc"], second["paid_usdc"], third["paid_usdc"]) == ("0.099", "0.00", "0.099")
    jobs = re.split(r"\n\d\. ", ran.stdout)[3:6]
    assert "Settled: Paid (exit code 0: release was accepted" in jobs[0]
    assert f"Settled: {SECOND[dialect]} (exit code 1" in jobs[1]
    assert THIRD[dialect] in jobs[2]
    assert "payments for this job in the ledger: 1" in jobs[2]
    assert statement["balanced"]
    assert "the books balance" in ran.stdout
    assert "held {held}".format(**statement["totals"]) in ran.stdout


def test_it_leaves_nothing_running_and_no_file(tmp_path):
    ran = demo(env=os.environ | {"TMPDIR": str(tmp_path)})
    assert ran.returncode == ExitCode.OK
    assert "\033" not in ran.stdout
    url = re.search(r"http://127.0.0.1:\d+", ran.stdout)[0]
    with pytest.raises(httpx.ConnectError):
        httpx.get(url, trust_env=False, verify=False)
    assert not list(tmp_path.iterdir())


def test_an_unknown_dialect_is_refused_with_the_known_ones():
    ran = demo("--dialect", "graphql")
    assert ran.returncode == ExitCode.BAD_INPUT
    assert "kubernetes" in ran.stderr
    assert "Traceback" not in ran.stderr
