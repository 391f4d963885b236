"""The FOCUS file: what the specification's own validator lets pass (sums, keys, periods) is checked here."""

import csv
import io
import json
import os
import re
import subprocess
from decimal import Decimal
from pathlib import Path

import pytest

from runtime.statement.focus import COLUMNS, Focus
from runtime.statement.sums import Statement
from tests.runtime.statement.accounts import of_every_kind, paid, statement_of

MANDATORY = 21
NULLABLE = {"ChargeClass", "RegionId", "RegionName"}
COSTS = ("BilledCost", "ContractedCost", "EffectiveCost", "ListCost")
NEVER_PASSED = {
    "CostAndUsage-D-033-O",
    *(f"InvoiceId-C-00{rule}" for rule in ("0-O", "1-M", "2-M", "3-C", "4-C", "5-C")),
}
"""An invoice id that is left out, empty or filled in fails one or the other."""
VALIDATOR = "PF_FOCUS_VALIDATOR"
TIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z")


def rows(escrows) -> tuple[Statement, list[dict[str, str]]]:
    statement, text = statement_of(escrows, make=lambda out, _: Focus(out))
    return statement, list(csv.DictReader(io.StringIO(text)))


def check(statement: Statement, charges: list[dict[str, str]]) -> list[str]:
    """What is wrong with the file."""
    problems = []
    keys = [charge["x_RowId"] for charge in charges]
    if len({*keys}) != len(keys):
        problems.append("a row is doubled")
    for charge in charges:
        if len({charge[cost] for cost in COSTS}) != 1:
            problems.append(f"{charge['x_RowId']}: its costs differ")
        times = [charge[f"{what}Period{end}"] for what in ("Billing", "Charge") for end in ("Start", "End")]
        if not all(map(TIME.fullmatch, times)) or not times[0] <= times[2] < times[3] <= times[1]:
            problems.append(f"{charge['x_RowId']}: the charge is not within its billing period")
        if empty := [name for name in COLUMNS[:MANDATORY] if not charge[name] and name not in NULLABLE]:
            problems.append(f"{charge['x_RowId']}: {empty} is empty")
    cost = sum(Decimal(charge["BilledCost"]) for charge in charges)
    told = Decimal(statement.total.paid + statement.total.fee).scaleb(-6)
    return problems if cost == told else [*problems, f"{cost} is charged, {told} was paid and kept"]


def test_an_account_of_every_kind():
    statement, charges = rows(of_every_kind())
    assert check(statement, charges) == []
    assert {charge["ServiceName"] for charge in charges} == {"Agent work", "Escrow fee"}
    assert all(charge["ChargeDescription"].isascii() for charge in charges)
    assert {charge["PricingQuantity"] for charge in charges} == {"1.0"}, "read as a decimal number, not a whole one"
    tags = json.loads(charges[0]["Tags"])
    assert (tags["agent"], tags["team"], charges[0]["RegionId"]) == ("summariser", "=cmd", "lhr")


def test_what_is_wrong_is_seen():
    statement, charges = rows([paid()])
    for name, value, problem in (
        ("BilledCost", "0.099001", "its costs differ"),
        ("ChargePeriodEnd", "2026-11-04T11:00:00Z", "not within its billing period"),
        ("ProviderName", "", "is empty"),
    ):
        assert any(problem in said for said in check(statement, [charges[0] | {name: value}, charges[1]])), name
    off = charges[0] | dict.fromkeys(COSTS, "0.099001")
    assert check(statement, [off, charges[1]]) == ["0.100001 is charged, 0.100000 was paid and kept"]
    assert "a row is doubled" in check(statement, [*charges, charges[0]])


def test_the_specifications_own_validator_fails_the_rules_that_no_file_passes_and_no_other(tmp_path):
    """It exits 0 whatever it finds, so the rules are compared. It finds its tables from the folder of the packages."""
    if not (validator := os.environ.get(VALIDATOR)):
        pytest.skip(
            f"[focus-validator] 600 MB of wheels: python3.12 -m venv v && v/bin/pip install focus-validator==2.2.1"
            f" pyarrow==21.0.0, then {VALIDATOR}=v/bin/focus-validator"
        )
    _, text = statement_of(of_every_kind(), make=lambda out, _: Focus(out))
    (tmp_path / "focus.csv").write_text(text)
    program = Path(validator).absolute()
    [packages] = program.parents[1].glob("lib/python3*/site-packages")
    words = ["--data-file", tmp_path / "focus.csv", "--validate-version", "1.2", "--block-download"]
    done = subprocess.run([program, *words], capture_output=True, text=True, cwd=packages, check=True)
    assert {*re.findall(r"([A-Za-z]+-[A-Z]-[0-9]+-[A-Z]): FAIL", done.stdout)} == NEVER_PASSED


def test_the_mandatory_columns_come_first():
    assert len(COLUMNS[:MANDATORY]) == len({*COLUMNS[:MANDATORY]}) == COLUMNS.index("ChargeFrequency")
