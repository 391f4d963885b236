"""Any order of work, faults, deaths, meddling and time: the invariants of money hold, and everything ends."""

import asyncio
import contextlib
from collections import defaultdict
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from runtime.contract import Phase
from runtime.payments import Operation
from runtime.sandbox.testing import running_sandbox
from runtime.settlement.driver import Step
from runtime.settlement.record import resolve
from tests.runtime.settling import DIALECTS, Crash, Shop, check_against_books
from tests.runtime.test_settlement_faults import FAULTS

RANK = [Phase.DECIDED, Phase.VERIFYING, Phase.NEEDS_REVIEW, Phase.SETTLED]
QUICK = [name for name in FAULTS if not name.startswith("slow")]
HARMLESS_TO_READS = [name for name in QUICK if "between" not in name and name != "another status"]
pick = st.integers(0, 3)


class Settlements(RuleBasedStateMachine):
    """A few jobs of one payer, and all that may happen to their payments."""

    def __init__(self, mall, dialect):
        super().__init__()
        self.mall = mall
        self.runner = asyncio.Runner()
        self.shop = Shop(mall, dialect, ":memory:")
        self.cases = []
        self.sent = defaultdict(set)
        self.seen = {}

    def watch(self, step, record):
        if step is Step.SENDING:
            self.sent[record.key].add(record.intent)

    def settle(self, case, crash_at=None):
        def observe(step, record):
            self.watch(step, record)
            if step is crash_at:
                raise Crash

        with contextlib.suppress(Crash):
            self.runner.run(self.shop.settler(observe=observe).settle(case))

    def record(self, case):
        return self.runner.run(self.shop.journal.load(case.key))

    @precondition(lambda self: len(self.cases) < 4)
    @rule(succeeded=st.booleans())
    def work_ends(self, succeeded):
        self.mall.clear_faults()  # creating is another chapter
        self.cases.append(self.runner.run(self.shop.case(succeeded=succeeded)))

    @rule(operation=st.sampled_from(["release", "dispute", "cancel"]), name=st.sampled_from(QUICK), nth=pick)
    def an_act_will_go_wrong(self, operation, name, nth):
        if operation == "release" or "between" not in name:
            self.shop.fault(operation, nth=nth or None, times=3, **FAULTS[name])

    @rule(operation=st.sampled_from(["read", "list", "*"]), name=st.sampled_from(HARMLESS_TO_READS), nth=pick)
    def a_read_will_go_wrong(self, operation, name, nth):
        self.shop.fault(operation, nth=nth or None, times=3, **FAULTS[name])

    @rule()
    def the_service_recovers(self):
        self.mall.clear_faults()

    @precondition(lambda self: self.cases)
    @rule(n=pick, crash_at=st.none() | st.sampled_from(Step))
    def a_round(self, n, crash_at):
        self.settle(self.cases[n % len(self.cases)], crash_at)

    @precondition(lambda self: self.cases)
    @rule(n=pick, settlers=st.integers(2, 4))
    def several_at_once(self, n, settlers):
        case = self.cases[n % len(self.cases)]

        async def together():
            await asyncio.gather(*(self.shop.settler(observe=self.watch).settle(case) for _ in range(settlers)))

        self.runner.run(together())

    @precondition(lambda self: self.cases)
    @rule(n=pick, operation=st.sampled_from([Operation.RELEASE, Operation.DISPUTE, Operation.CANCEL]))
    def somebody_else_acts(self, n, operation):
        case = self.cases[n % len(self.cases)]
        self.mall.clear_faults()
        if self.shop.client.supports(operation) and self.shop.escrow(case)["status"] == "funded":
            act = getattr(self.shop.client, operation.value)
            with contextlib.suppress(Exception):  # a release that stopped half-way before ends in a 500 here
                self.runner.run(act(case.escrow_id, *(["mine"] if operation is Operation.DISPUTE else [])))

    @rule(seconds=st.sampled_from([5, 120]))
    def time_passes(self, seconds):
        self.shop.offset += timedelta(seconds=seconds)

    @rule()
    def the_escrows_time_out(self):
        self.mall.advance(hours=25)

    @precondition(lambda self: self.cases)
    @rule(n=pick)
    def a_person_says_try_again(self, n):
        record = self.record(self.cases[n % len(self.cases)])
        if record and record.phase is Phase.NEEDS_REVIEW:
            again = resolve(record, by="ada", why="looked at it", now=self.shop.now())
            self.runner.run(self.shop.journal.write(again))
            del self.seen[record.key]

    @invariant()
    def a_record_only_moves_forward_and_a_settled_one_not_at_all(self):
        for record in self.shop.journal.records():
            before = self.seen.get(record.key, record)
            assert RANK.index(record.phase) >= RANK.index(before.phase)
            assert record.intent is before.intent
            if before.phase is Phase.SETTLED:
                assert record == before
            self.seen[record.key] = record

    @invariant()
    def one_settlement_sends_one_kind_of_act(self):
        assert all(len(intents) == 1 for intents in self.sent.values())

    def teardown(self):
        try:
            self.mall.clear_faults()
            for case in self.cases:
                check_against_books(self.shop, case, self.runner.run(self.shop.until_closed(case)))
        finally:
            self.mall.clear_faults()
            self.runner.run(self.shop.close())
            self.runner.close()


@pytest.fixture(scope="module")
def mall():
    with running_sandbox() as running:
        yield running


@pytest.mark.parametrize("dialect", DIALECTS)
def test_whatever_happens_money_moves_once(mall, dialect):
    run_state_machine_as_test(
        lambda: Settlements(mall, dialect),
        settings=settings(
            max_examples=12, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
