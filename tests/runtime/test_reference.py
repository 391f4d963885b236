"""docs/environment.md is what the programs declare, and what they declare is all that the contract names for them."""

import re
from pathlib import Path

from runtime.contract import Env, FlyEnv
from runtime.reference import page, programs

DOC = Path(__file__).parents[2] / "docs" / "environment.md"
YET_TO_COME = {
    "TRADING_URL", "WALLET_URL", "DOMAINS_URL",  # agents
    "MCP_PROXY_URL",  # agents, too: where the sidecar is
    "FAUCET_BASE",  # agents on Fly: the guide's name for their own code
}  # fmt: skip
"""Of programs that there are not yet; each takes its own off this list."""


def test_the_page_is_up_to_date():
    assert DOC.read_text() == page(), "docs/environment.md is out of date: run `make docs`"


def test_every_variable_of_the_contract_is_declared_by_a_program():
    declared = {variable.name for program in programs() for variable, _ in program.variables()}
    assert declared == {variable.value for variable in (*Env, *FlyEnv) if variable.name not in YET_TO_COME}


def test_every_variable_says_what_it_means_takes_and_what_holds_without_it():
    for program in programs():
        names = [(variable.name, verb) for variable, verb in program.variables()]
        assert len(names) == len(set(names)), program.name
        for variable, _ in program.variables():
            assert re.fullmatch(r"[A-Z].*[^.]", variable.meaning), variable.name
            assert variable.takes
            assert variable.without
