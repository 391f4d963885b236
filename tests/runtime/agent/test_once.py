"""Each money call arrives once, however many idle connections the service closes at that moment."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.conformance import go_agent
from tests.conformance.hanging_up import HangingUp

WARM = 5
KEPT = ("DisableKeepAlives:     acts", "MaxIdleConnsPerHost: 99")
"""What makes Go keep the connections that it acts on, too: a request is then all the same never sent again."""


@pytest.fixture
def service():
    service = HangingUp(WARM)
    yield service
    service.close()


@pytest.mark.parametrize("agent", ["python", "go", "go that keeps its connections"])
def test_a_call_arrives_once_when_every_warm_connection_breaks(request, start, service, agent):
    command = {}
    if agent != "python":
        command = {"command": request.getfixturevalue("go")}
    if "keeps" in agent:
        command = {"command": [str(go_agent.build(KEPT))]}
    world = start(ESCROW_BASE=service.url, PF_CONCURRENCY=str(WARM), PF_QUEUE_LENGTH=str(WARM), **command)
    for number, act in enumerate(("create", "release"), 1):
        service.warm()
        with ThreadPoolExecutor(WARM) as callers:
            warmed = list(callers.map(lambda _: world.infer().json()["status"], range(WARM)))
        assert warmed == ["released"] * WARM
        if "keeps" in agent:
            assert len(service.open) >= WARM
        service.hang_up_on(act)
        answer = world.infer()
        assert (answer.status_code, answer.json().get("error", answer.json().get("status"))) in (
            (502, "payment_unknown"),
            (200, "review"),
            (200, "settling"),
        )
        world.until(lambda wanted=number: world.settled()["review"] == wanted, "a person is asked")
    assert {*service.seen.values()} == {1}, service.seen
    assert len(service.seen) == 2 * 2 * WARM + 1 + 2
