"""What a payment service may answer in place of a list: it makes the depth unknown, or is counted right; never zero."""

import asyncio
import itertools
import json
from urllib.parse import parse_qs, urlsplit

import pytest

from runtime.contract import METRICS_SERVICE
from runtime.errors import PurpleFleaError
from runtime.kubernetes.client import KubernetesApi
from runtime.kubernetes.escrow_objects import EscrowObjects
from runtime.kubernetes.kubeconfig import KubeconfigLogin
from runtime.kubernetes.task_claims import TaskClaims
from runtime.metrics_server.__main__ import LIST_BYTES
from runtime.metrics_server.queue import Queue
from runtime.metrics_server.reading import Reading
from runtime.payments import Credentials, Limits, PaymentsClient, Retries
from tests.runtime.payments.scripted_server import Reply, Script, scripted_server


def escrow(number: int, **changes) -> dict:
    return {"escrow_id": f"esc_{number}", "status": "locked", "amount": 0.5, "amount_usd": 0.5, **changes}


def read(cluster, dialect: str, script: Script) -> Reading:
    """One reading of the queue of an empty namespace."""

    async def reading() -> Reading:
        once = Retries(attempts=1)
        async with scripted_server() as server, KubernetesApi("tests", KubeconfigLogin([cluster.kubeconfig])) as api:
            server.script = script
            limits = Limits(body_bytes=LIST_BYTES)
            client = PaymentsClient(
                dialect, server.url, Credentials("pf_live_key-1"), retries=once, limits=limits, allow_http=True
            )
            async with client:
                claims = TaskClaims(api, "default", METRICS_SERVICE)
                return await Queue(client, EscrowObjects(api), claims, "default", "").read()

    return asyncio.run(reading())


LISTS = {
    "no list": {"escrows": {"a": 1}},
    "nothing": {},
    "null": {"escrows": None},
    "a list of no objects": {"escrows": [1, 2]},
    "another shape": [escrow(1)],
    "no id": {"escrows": [{"status": "locked"}]},
    "a negative amount": {"escrows": [escrow(1, amount=-1)]},
    "an amount that is no number": b'{"escrows": [{"escrow_id": "esc_1", "status": "locked", "amount": NaN}]}',
    "a status that nobody knows": {"escrows": [escrow(1, status="sleeping")]},
    "one twice": {"escrows": [escrow(1), escrow(2), escrow(1)]},
    "HTML": b"<html>all is well</html>",
    "a half": b'{"escrows": [{"escrow_id": "esc_1"',
    "an empty body": b"",
    "a time that is none": {"escrows": [escrow(1, created_at="yesterday")]},
}


@pytest.mark.parametrize("body", LISTS.values(), ids=LISTS)
def test_what_is_no_list_is_unknown(definition, body):
    with pytest.raises(PurpleFleaError):
        read(definition, "kubernetes", lambda _: Reply(body=body))


def test_a_count_that_the_service_tells_is_not_looked_at(definition):
    """What is in the list is counted, whatever is written beside it."""
    found = read(definition, "kubernetes", lambda _: Reply(body={"count": -3, "total": 0, "escrows": [escrow(1)]}))
    assert found.groups.whole.count == 1


def test_a_hundred_thousand_are_counted(definition):
    body = json.dumps({"escrows": [escrow(number) for number in range(100_000)]}).encode()
    found = read(definition, "kubernetes", lambda _: Reply(body=body))
    assert (found.groups.whole.count, found.groups.whole.micro) == (100_000, 50_000_000_000)


def paged(page) -> Script:
    """Answers with `page(offset)`."""

    def answer(request) -> Reply:
        (offset,) = parse_qs(urlsplit(request.target).query)["offset"]
        return Reply(body={"escrows": [escrow(number) for number in page(int(offset))]})

    return answer


def test_all_pages_are_counted_short_ones_too(definition):
    found = read(definition, "server", paged(lambda offset: range(offset, min(offset + 40, 230))))
    assert found.groups.whole.count == 230


PAGES = {
    "the same page for ever": lambda offset: range(100),
    "a page that overlaps the one before": lambda offset: range(max(0, offset - 1), offset + 99),
    "no end": lambda offset: range(offset, offset + 100),
    "one twice on a page": lambda offset: itertools.chain(range(offset, offset + 50), [offset]),
}


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_pages_that_contradict_each_other_are_unknown(definition, page):
    with pytest.raises(PurpleFleaError):
        read(definition, "server", paged(page))
