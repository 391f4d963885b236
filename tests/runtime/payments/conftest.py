import socket
import ssl

import pytest

from runtime.payments import Credentials, PaymentsClient, Retries, Timeouts
from runtime.payments.busy_http import BusyHttp
from tests.runtime.payments.scripted_server import scripted_server

KEY = "pf_live_test-key-7351"
QUICK = Retries(attempts=3, first_wait_seconds=0.001, longest_wait_seconds=0.05, jitter_seconds=0.001)
TLS = ssl.create_default_context()  # once: reading the trust store takes longer than most tests
# A busy machine must not look like a silent service, so only the tests of silence are in a hurry.
PATIENT = Timeouts(connect_seconds=60, read_seconds=60, write_seconds=60, pool_seconds=60, exchange_seconds=120)
SHORT = Timeouts(connect_seconds=60, read_seconds=1, write_seconds=60, pool_seconds=60, exchange_seconds=2)


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
async def server():
    async with scripted_server() as running:
        yield running


@pytest.fixture
def unused_url():
    """Bound, but nobody listens: connections are refused at once."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


@pytest.fixture(params=["httpx", "http1"])
async def client_of(request, server):
    """Makes clients of the scripted server, by dialect; with either transport all must be the same."""
    made = []

    def make(dialect="server", **changes):
        settings = {
            "faucet_url": server.url,
            "casino_url": server.url,
            "retries": QUICK,
            "timeouts": PATIENT,
            "allow_http": True,
            "tls": TLS,
        } | changes
        settings["http"] = BusyHttp if request.param == "http1" else None
        made.append(PaymentsClient(dialect, settings.pop("url", server.url), Credentials(KEY), **settings))
        return made[-1]

    yield make
    for client in made:
        await client.close()
