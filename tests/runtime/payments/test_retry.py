"""What may be sent again is, so often and so long; the attempt that all begins with counts."""

import pytest

from runtime.errors import OutcomeUnknown, PurpleFleaError, Unreachable
from runtime.payments import Retries
from tests.runtime.payments.conftest import QUICK

pytestmark = pytest.mark.anyio


class Service:
    """Fails with these errors in turn, then answers; counts."""

    def __init__(self, *errors: PurpleFleaError) -> None:
        self.errors = [*errors]
        self.asked = 0

    async def send(self) -> str:
        self.asked += 1
        if self.errors:
            raise self.errors.pop(0)
        return "answer"


@pytest.mark.parametrize("failures", [0, 1, 2])
async def test_it_is_sent_until_there_is_an_answer(failures):
    service = Service(*[Unreachable("down")] * failures)
    assert await QUICK.run(service.send) == "answer"
    assert service.asked == failures + 1


async def test_the_last_error_comes_out_after_so_many_attempts():
    service = Service(*(Unreachable(f"down {n}") for n in range(9)))
    with pytest.raises(Unreachable, match=f"down {QUICK.attempts - 1}"):
        await QUICK.run(service.send)
    assert service.asked == QUICK.attempts


async def test_no_attempt_follows_the_deadline():
    service = Service(Unreachable("down"))
    with pytest.raises(Unreachable):
        await Retries(deadline_seconds=0).run(service.send)
    assert service.asked == 1


@pytest.mark.parametrize("before", [[], [Unreachable("down")]])
async def test_what_may_have_happened_is_never_sent_again(before):
    service = Service(*before, OutcomeUnknown("lost"))
    with pytest.raises(OutcomeUnknown):
        await QUICK.run(service.send)
    assert service.asked == len(before) + 1
