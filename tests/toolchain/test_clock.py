"""A running process sees the shifted time, its time-outs stay true, and both are as before at the end."""

import os
import subprocess
import sys
import time

import pytest

from tests.toolchain.clock import Clock
from tests.toolchain.tools import Missing

DAY_SECONDS = 86_400
TELL_TIME = """
import sys, time
for _ in sys.stdin:
    print(time.time(), time.monotonic(), flush=True)
"""


@pytest.fixture
def clock(tmp_path):
    try:
        return Clock(tmp_path)
    except Missing as missing:
        pytest.skip(str(missing))


@pytest.fixture
def process(clock):
    command = [sys.executable, "-c", TELL_TIME]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **clock.environment}
    ) as running:
        yield running
        running.stdin.close()


def lives_at(process, shift: float) -> bool:
    """Whether the process's wall clock is so many seconds ahead of ours, and its monotonic clock not at all."""
    before = time.time(), time.monotonic()
    process.stdin.write("\n")
    process.stdin.flush()
    wall, monotonic = map(float, process.stdout.readline().split())
    after = time.time(), time.monotonic()
    return before[0] - 0.01 <= wall - shift <= after[0] + 0.01 and before[1] <= monotonic <= after[1]


@pytest.mark.parametrize("shift", [90 * DAY_SECONDS, -3600])
def test_a_running_process_lives_in_the_shifted_time_and_returns(clock, process, shift):
    assert lives_at(process, 0)
    with clock.shifted(shift):
        assert lives_at(process, shift)
    assert lives_at(process, 0)


def test_the_clock_returns_even_when_the_test_inside_fails(clock, process):
    with pytest.raises(ZeroDivisionError), clock.shifted(DAY_SECONDS):
        raise ZeroDivisionError
    assert lives_at(process, 0)


def test_two_shifts_follow_one_another_in_one_process(clock, process):
    with clock.shifted(DAY_SECONDS):
        assert lives_at(process, DAY_SECONDS)
    with clock.shifted(-DAY_SECONDS):
        assert lives_at(process, -DAY_SECONDS)
