"""The contract for programs in other languages is the contract."""

import json
import subprocess
import sys

from runtime import contract
from runtime.contract import contract_json
from tests.components.variants import ROOT


def test_every_name_of_the_contract_is_in_it():
    found = contract_json()
    assert found["escrowIdAnnotation"] == contract.ESCROW_ID_ANNOTATION
    assert found["secretKeys"] == [*contract.SECRET_KEYS]
    assert found["minimumEscrowUsdc"] == contract.MINIMUM_ESCROW_USDC
    # Two members of one value are two names: Enum iteration would drop the second.
    assert found["Port"]["SANDBOX"] == found["Port"]["WORKER"] == 8080
    assert found["Env"]["API_KEY"] == "PF_API_KEY"
    public = {name for name in vars(contract) if not name.startswith("_") and name[0].isupper()}
    assert len(found) == len(public - {"Any", "Enum", "IntEnum", "StrEnum", "Final"})


def test_command_needs_the_standard_library_only():
    command = [sys.executable, "-S", "-m", "runtime.contract_json"]
    printed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert json.loads(printed) == contract_json()
