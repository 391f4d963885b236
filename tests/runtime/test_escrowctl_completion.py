"""What a shell is offered: by the real kubectl, and by argcomplete's protocol as its bash function speaks it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.contract import Phase
from runtime.escrowctl.__main__ import PROGRAM
from runtime.escrowctl.completion import candidates
from tests.toolchain.fixtures import require

PHASES = [phase.value for phase in Phase]
SCRIPT = "#!{python}\nimport sys\nfrom {module} import main\nsys.exit(main())\n"


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["re"], ["resolve", "retry"]),
        (["list", "--ph"], ["--phase"]),
        (["list", "--phase", ""], PHASES),
        (["list", "--phase", "Se"], ["Settled"]),
        (["list", "-o", "j"], ["json"]),
        (["list", "--namespace", ""], []),
    ],
)
def test_verbs_options_and_values_are_offered(words, offered):
    assert list(candidates(PROGRAM.parser(), words)) == offered


def test_every_verb_is_offered():
    offered = list(candidates(PROGRAM.parser(), [""]))
    verbs = [line.split()[0] for line in PROGRAM.summary.splitlines() if line[:1].islower() and "  " in line]
    assert verbs
    assert set(verbs) <= set(offered)


@pytest.fixture
def installed(tmp_path):
    """The environment of a shell in which the package is installed."""
    modules = {"kubectl-purpleflea": "__main__", "kubectl_complete-purpleflea": "completion"}
    for name, module in modules.items():
        script = tmp_path / name
        script.write_text(SCRIPT.format(python=sys.executable, module=f"runtime.escrowctl.{module}"))
        script.chmod(0o755)
    return os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(Path.cwd())}


@pytest.mark.controlplane
@pytest.mark.parametrize(
    ("words", "offered"),
    [(["re"], ["resolve", "retry", ":4"]), (["list", "--phase", ""], [*PHASES, ":4"]), (["fund", "-f", ""], [":0"])],
)
def test_kubectl_offers_them(installed, words, offered):
    kubectl = require("controlplane", "kubectl")
    command = [str(kubectl), "__complete", "purpleflea", *words]
    done = subprocess.run(command, env=installed, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines() == offered


def test_a_shell_gets_them_from_the_program_itself(installed, tmp_path):
    answer = tmp_path / "answer"
    line = "kubectl-purpleflea list --phase Se"
    asked = {"_ARGCOMPLETE": "1", "_ARGCOMPLETE_IFS": "\n", "COMP_LINE": line, "COMP_POINT": str(len(line))}
    asked["_ARGCOMPLETE_STDOUT_FILENAME"] = str(answer)
    subprocess.run(["kubectl-purpleflea"], env=installed | asked, timeout=60, check=False)
    assert answer.read_text().strip() == "Settled"
