"""The journals, read by the real beancount and the real hledger: they accept ours, and refuse one micro-USDC."""

import re
import subprocess
from decimal import Decimal
from pathlib import Path

import pytest
from beancount import loader

from runtime.statement.journals import Beancount, Hledger
from tests.runtime.statement.accounts import NOVEMBER, of_every_kind, paid, statement_of
from tests.toolchain.fixtures import require

LAX = {
    "beancount": 'option "inferred_tolerance_default" "USDC:0.01"\noption "tolerance_multiplier" "100000"\n'
    'include "{file}"\n',
    "hledger": "commodity 1000.00 USDC\ninclude {file}\n",
}
"""A journal of the reader's own that lets a cent be missing, and takes ours in."""


class Checker:
    """One of the programs; beancount in this process, because to start it takes a second."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self._folder = name, folder
        self.form = {"beancount": Beancount, "hledger": Hledger}[name]
        self._check = {"beancount": beancount, "hledger": hledger}[name]

    def refusal(self, text: str, *, lax: bool = False) -> str:
        """What it says against the journal; empty when it accepts it."""
        file = self._folder / f"ours.{self.name}"
        file.write_text(text, encoding="utf-8")
        if lax:
            outer = self._folder / f"theirs.{self.name}"
            outer.write_text(LAX[self.name].format(file=file), encoding="utf-8")
            file = outer
        return self._check(file)


def beancount(file: Path) -> str:
    _, errors, _ = loader.load_file(f"{file}")
    return "\n".join(error.message for error in errors)


def hledger(file: Path) -> str:
    done = run([require("hledger", "hledger"), "-f", file, "check", "--strict"])
    return done.stderr if done.returncode else ""


def run(command: list) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, env={"LC_ALL": "C.UTF-8"})


@pytest.fixture(params=["beancount", "hledger"])
def checker(request, tmp_path):
    return Checker(request.param, tmp_path)


def test_the_program_accepts_an_account_of_every_kind(checker):
    statement, text = statement_of(of_every_kind(), make=checker.form)
    assert statement.flaws == []
    assert checker.refusal(text) == ""
    assert checker.refusal(text, lax=True) == ""
    assert "the amount is not known" in text


def test_the_program_accepts_a_statement_of_nothing(checker):
    assert checker.refusal(statement_of([], make=checker.form)[1]) == ""


def test_each_amount_that_is_off_by_one_micro_usdc_is_refused(checker):
    """Even inside a journal that is lax: there the assertions at the end hold."""
    _, text = statement_of([paid("0.0015", "0.001485", "0.000015", referral="0.000002")], make=checker.form)
    amounts = [*re.finditer(r"(?<!commodity )(?<=[ ])-?\d+\.\d{6}(?= (USDC|~))", text)]
    assert len(amounts) > 12
    for found in amounts:
        off = f"{Decimal(found[0]) + Decimal('0.000001'):.6f}"
        falsified = text[: found.start()] + off + text[found.end() :]
        assert checker.refusal(falsified, lax=True), f"{found[0]} became {off} at {found.start()}"


def test_an_account_that_does_not_add_up_makes_a_journal_that_is_refused(checker):
    statement, text = statement_of([paid(net="0.098999")], make=checker.form)
    assert statement.flaws
    assert "balance" in checker.refusal(text)


def test_hledger_comes_to_the_sums_of_the_statement(tmp_path):
    statement, text = statement_of(of_every_kind(), make=Hledger)
    file = tmp_path / "ours.journal"
    file.write_text(text, encoding="utf-8")
    query = ["balance", "--flat", "--no-total", "-N", "expenses:purpleflea:work", "-O", "csv"]
    done = subprocess.run(
        [require("hledger", "hledger"), "-f", file, *query], capture_output=True, text=True, check=True
    )
    assert f"{Decimal(statement.total.paid).scaleb(-6):.6f} USDC" in done.stdout


def test_an_escrow_is_a_link_and_a_code():
    _, text = statement_of([paid(spec={"escrowId": "esc:odd~id@x"})], NOVEMBER, make=Beancount)
    assert "^esc-odd-id-x" in text
    assert 'escrow: "esc:odd~id@x"' in text
