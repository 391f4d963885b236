"""W3C Trace Context: the header in, the log line, the header out."""

import re

import pytest

from runtime import trace
from runtime.payments import Credentials, PaymentsClient
from tests.runtime.payments.scripted_server import Reply, scripted_server

ID, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.mark.parametrize(
    ("header", "sampled"),
    [
        (f"00-{ID}-{SPAN}-01", True),
        (f"00-{ID}-{SPAN}-00", False),
        (f"01-{ID}-{SPAN}-03-more", True),
        (f" 00-{ID}-{SPAN}-02\t", False),
    ],
)
def test_a_callers_trace_is_taken(header, sampled):
    assert trace.parse(header) == trace.Trace(ID, sampled)


@pytest.mark.parametrize(
    "header",
    [
        "",
        ID,
        f"ff-{ID}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{ID}-{'0' * 16}-01",
        f"00-{ID.upper()}-{SPAN}-01",
        f"00-{ID}-{SPAN}-01-more",
        f"00-{ID}-{SPAN}-1",
        f"00-{ID}-{SPAN}-01\nx: y",
        f"00-{ID[:-1]}-{SPAN}-01",
        f"00-{ID}-{SPAN}-01, 00-{ID}-{SPAN}-01",
        f"01-{ID}-{SPAN}-01.",
    ],
)
def test_what_is_no_trace_is_ignored(header):
    assert trace.parse(header) is None
    with trace.tracing(header):
        assert trace.log_fields()["trace"] != ID


def test_outside_of_any_work_nothing_is_said_and_nothing_sent():
    assert (trace.log_fields(), trace.outgoing()) == ({}, {})


def test_work_within_work_ends_with_it():
    with trace.tracing(f"00-{ID}-{SPAN}-01", job="outer"):
        with trace.tracing(job="inner"):
            assert trace.log_fields()["trace"] != ID
        assert trace.log_fields() == {"trace": ID, "job": "outer"}


@pytest.mark.anyio
async def test_the_payments_client_passes_it_on_with_a_span_of_its_own():
    async with scripted_server() as server:
        server.replies(Reply(200, {"escrow_id": "esc_1"}))
        async with PaymentsClient("fly", server.url, Credentials("some-key"), allow_http=True) as client:
            with trace.tracing(f"00-{ID}-{SPAN}-01"):
                await client.cancel("esc_1")
                await client.cancel("esc_1")
            await client.cancel("esc_1")
    sent = [request.headers.get(trace.HEADER, "") for request in server.received]
    found = [re.fullmatch(rf"00-{ID}-([0-9a-f]{{16}})-01", header) for header in sent]
    assert found[0]
    assert found[1]
    assert len({SPAN, found[0][1], found[1][1]}) == 3
    assert sent[2] == ""
