"""What goes wrong on the wire, and which class of error it becomes."""

import asyncio
import datetime as dt
import email.utils
import ipaddress
import logging
import os
import socket
import ssl

import pytest
import stamina.instrumentation
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from runtime.environment import checked_url
from runtime.errors import (
    BadInput,
    NotFound,
    OutcomeUnknown,
    Problem,
    RateLimited,
    Unauthorized,
    Unavailable,
    Unreachable,
)
from runtime.money import Usdc
from runtime.payments import ClaimOutcome, Credentials, EscrowRequest, PaymentsClient, Retries
from runtime.payments.transport import _text
from tests.runtime.payments.conftest import KEY, PATIENT, QUICK, SHORT
from tests.runtime.payments.scripted_server import Reply, ScriptedServer

pytestmark = pytest.mark.anyio
HTML = b"<!doctype html><title>502</title>"
OK = {"escrow_id": "esc_1", "status": "released", "amount_released": 0.099}
READ = {"escrow_id": "esc_1", "status": "released"}

NO_USABLE_ANSWER = {
    "reset before the first byte": (Reply(200, OK, cut=0), Problem.BROKEN_OFF),
    "reset after the first byte": (Reply(200, OK, cut=1), Problem.BROKEN_OFF),
    "half a head": (Reply(200, OK, cut=30), Problem.BROKEN_OFF),
    "half a body": (Reply(200, OK, cut=-10), Problem.BROKEN_OFF),
    "silence": (Reply(200, OK, hang=True), Problem.TIMEOUT),
    "a body that drips": (Reply(200, OK, drip=True), Problem.TIMEOUT),
    "500": (Reply(500, {"error": "release_failed"}), Problem.SERVER_ERROR),
    "502 from a proxy": (Reply(502, HTML, content_type="text/html"), Problem.SERVER_ERROR),
    "503": (Reply(503, {"error": "busy"}, {"Retry-After": "1"}), Problem.SERVER_ERROR),
    "504 without a body": (Reply(504, b"", content_type=None), Problem.SERVER_ERROR),
    "408": (Reply(408, {"error": "timeout"}), Problem.UNEXPECTED_STATUS),
    "404 from a proxy": (Reply(404, HTML, content_type="text/html"), Problem.UNEXPECTED_STATUS),
    "403 from a proxy": (Reply(403, HTML, content_type="text/html"), Problem.UNEXPECTED_STATUS),
    "202": (Reply(202, OK), Problem.UNEXPECTED_STATUS),
    "204": (Reply(204, b"", {"Content-Length": "0"}, content_type=None), Problem.UNEXPECTED_STATUS),
    "303": (Reply(303, OK, {"Location": "/elsewhere"}), Problem.UNEXPECTED_STATUS),
    "HTML": (Reply(200, HTML, content_type="text/html"), Problem.CONTENT_TYPE),
    "JSON that says it is HTML": (Reply(200, OK, content_type="text/html"), Problem.CONTENT_TYPE),
    "no content type": (Reply(200, OK, content_type=None), Problem.CONTENT_TYPE),
    "an event nobody asked for": (
        Reply(200, b'data: {"escrow_id": "esc_1", "status": "released"}\n\n', content_type="text/event-stream"),
        Problem.CONTENT_TYPE,
    ),
    "HTML that says it is JSON": (Reply(200, HTML), Problem.MALFORMED),
    "an empty 200": (Reply(200, b""), Problem.MALFORMED),
    "truncated JSON": (Reply(200, b'{"escrow_id": "esc_1", "stat'), Problem.MALFORMED),
    "a JSON list": (Reply(200, [OK]), Problem.MALFORMED),
    "JSON null": (Reply(200, None), Problem.MALFORMED),
    "NaN": (Reply(200, b'{"amount_released": NaN}'), Problem.MALFORMED),
    "deep nesting": (Reply(200, b"[" * 100_000), Problem.MALFORMED),
    "no UTF-8": (Reply(200, b'{"status": "\xff\xfe"}'), Problem.MALFORMED),
    "10 MB": (Reply(200, b'{"padding": "' + b"x" * 10_000_000 + b'"}'), Problem.TOO_LARGE),
    "not HTTP": (Reply(200, OK, {"Bad\x00Header": "x"}), Problem.BROKEN_OFF),
    "compressed": (Reply(200, b"\x1f\x8b\x08garbage", {"Content-Encoding": "gzip"}), Problem.MALFORMED),
}


@pytest.mark.parametrize("case", NO_USABLE_ANSWER)
async def test_without_a_usable_answer_money_may_have_moved(case, server, client_of):
    reply, problem = NO_USABLE_ANSWER[case]
    server.replies(reply)
    timeouts = SHORT if problem is Problem.TIMEOUT else PATIENT
    with pytest.raises(OutcomeUnknown) as caught:
        await client_of(timeouts=timeouts).release("esc_1", Usdc.parse("0.10"))
    error = caught.value
    assert (error.problem, error.operation, error.escrow_id) == (problem, "release", "esc_1")
    assert error.request_id == server.received[0].headers["x-request-id"]
    assert len(server.received) == 1  # never sent again


@pytest.mark.parametrize("case", ["reset before the first byte", "half a body", "500", "HTML", "an empty 200"])
async def test_without_a_usable_answer_a_read_is_repeated(case, server, client_of):
    reply, problem = NO_USABLE_ANSWER[case]
    server.replies(reply)
    with pytest.raises(Unavailable) as caught:
        await client_of().read_escrow("esc_1")
    assert caught.value.problem is problem
    assert len(server.received) == QUICK.attempts


async def test_an_answer_that_is_too_large_is_not_asked_for_again(server, client_of):
    server.replies(NO_USABLE_ANSWER["10 MB"][0])
    with pytest.raises(Unavailable) as caught:
        await client_of().read_escrow("esc_1")
    assert caught.value.problem is Problem.TOO_LARGE
    assert len(server.received) == 1


async def test_no_compression_is_asked_for_because_it_could_inflate(server, client_of):
    server.replies(Reply(200, READ))
    await client_of().read_escrow("esc_1")
    assert server.received[0].headers["accept-encoding"] == "identity"


async def test_a_read_succeeds_once_the_service_is_back(server, client_of):
    server.replies(Reply(500), Reply(200, READ, cut=20), Reply(200, READ))
    assert (await client_of().read_escrow("esc_1")).id == "esc_1"
    assert len(server.received) == 3


async def test_a_create_whose_answer_breaks_off_is_sent_once(server, client_of):
    server.replies(Reply(201, {"escrow_id": "esc_1"}, cut=-5))
    order = EscrowRequest(payee="ag_payee", amount=Usdc.parse("0.10"), token="pf-12345678")
    with pytest.raises(OutcomeUnknown):
        await client_of().create_escrow(order)
    assert len(server.received) == 1


async def test_no_connection_means_that_nothing_happened(unused_url, client_of):
    with pytest.raises(Unreachable) as caught:
        await client_of(url=unused_url).release("esc_1")
    assert caught.value.problem is Problem.NO_CONNECTION


async def test_a_write_that_found_no_connection_is_sent_once_there_is_one(retried):
    late = ScriptedServer()
    late.replies(Reply(200, OK))
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        retries = Retries(attempts=200, first_wait_seconds=0.01, longest_wait_seconds=0.01, jitter_seconds=0)
        url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        async with PaymentsClient("server", url, Credentials(KEY), retries=retries, allow_http=True) as client:
            sent = asyncio.create_task(client.release("esc_1"))
            await retried.wait()
            listening = await asyncio.start_server(late.serve, sock=bound)
            assert (await sent).escrow_id == "esc_1"
            listening.close()
    assert len(late.received) == 1


@pytest.fixture
def retried():
    """An event that is set when a first attempt has failed and a second is due."""
    event = asyncio.Event()
    stamina.instrumentation.set_on_retry_hooks([lambda details: event.set()])
    yield event
    stamina.instrumentation.set_on_retry_hooks(None)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A self-signed certificate for 127.0.0.1, as a file with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "loopback")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem, pkcs8, plain = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    file = tmp_path_factory.mktemp("tls") / "server.pem"
    file.write_bytes(made.public_bytes(pem) + key.private_bytes(pem, pkcs8, plain))
    return file


@pytest.fixture
async def tls_server(certificate):
    """Starts a TLS server with a handler and gives its URL."""
    served = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    served.load_cert_chain(certificate)
    started = []

    async def start(handler):
        started.append(await asyncio.start_server(handler, "127.0.0.1", 0, ssl=served))
        return f"https://127.0.0.1:{started[-1].sockets[0].getsockname()[1]}"

    yield start
    for server in started:
        server.close()


async def test_only_a_trusted_certificate_gets_the_key(certificate, tls_server, client_of):
    script = ScriptedServer()
    script.replies(Reply(200, OK))
    url = await tls_server(script.serve)
    with pytest.raises(Unreachable, match="CERTIFICATE_VERIFY_FAILED"):
        await client_of(url=url).release("esc_1")
    assert script.received == []
    trusting = ssl.create_default_context(cafile=certificate)
    assert (await client_of(url=url, tls=trusting).release("esc_1")).escrow_id == "esc_1"


async def test_an_answer_that_tls_cannot_decipher_is_no_answer(certificate, tls_server, client_of):
    async def garble(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        os.write(writer.get_extra_info("socket").fileno(), b"\x17\x03\x03\x00\x20" + bytes(32))
        await reader.read()

    client = client_of(url=await tls_server(garble), tls=ssl.create_default_context(cafile=certificate))
    with pytest.raises(OutcomeUnknown) as caught:
        await client.release("esc_1")
    assert caught.value.problem is Problem.BROKEN_OFF


# --- refusals


async def test_a_404_in_json_is_not_success(server, client_of):
    server.replies(Reply(404, OK))
    with pytest.raises(NotFound):
        await client_of().release("esc_1")


@pytest.mark.parametrize("reply", [Reply(401, {"error": "unauthorized"}), Reply(401, HTML, content_type="text/html")])
async def test_an_expired_key_is_named_whoever_says_so(reply, server, client_of):
    server.replies(reply)
    with pytest.raises(Unauthorized, match="key was refused"):
        await client_of().release("esc_1")
    assert len(server.received) == 1


@pytest.mark.parametrize("status", [301, 307, 308])
async def test_a_redirect_is_not_followed_and_the_key_stays_here(status, server, client_of):
    server.replies(Reply(status, b"", {"Location": f"{server.url}/stolen?key={KEY}"}))
    with pytest.raises(BadInput) as caught:
        await client_of().release("esc_1")
    assert caught.value.problem is Problem.REDIRECT
    assert len(server.received) == 1


# --- waiting


def _http_date(seconds_ahead):
    return email.utils.format_datetime(dt.datetime.now(dt.UTC) + dt.timedelta(seconds=seconds_ahead), usegmt=True)


@pytest.mark.parametrize(
    ("headers", "least", "most"),
    [
        ({"Retry-After": "7"}, 7, 7),
        ({"Retry-After": "99999"}, 3600, 3600),
        ({"Retry-After": "-5"}, 20, 20),
        ({"Retry-After": "soon"}, 20, 20),
        ({}, 20, 20),
        ({"Retry-After": 600}, 500, 600),
        ({"Retry-After": -600}, 0, 0),
        # By the service's own clock, which is a day ahead of ours: half a minute.
        ({"Date": 86_400, "Retry-After": 86_430}, 29, 31),
    ],
    ids=str,
)
async def test_retry_after_is_honoured_within_bounds(headers, least, most, server, client_of):
    """Numbers here stand for a date so many seconds ahead of our clock."""
    sent = {name: value if isinstance(value, str) else _http_date(value) for name, value in headers.items()}
    server.replies(Reply(429, {"error": "rate_limited"}, sent))
    with pytest.raises(RateLimited) as caught:
        await client_of(retries=Retries(attempts=1)).release("esc_1")
    assert least <= caught.value.delay_seconds <= most
    assert caught.value.code == "rate_limited"


async def test_a_short_wait_is_waited_and_then_sent_again(server, client_of):
    server.replies(Reply(429, HTML, {"Retry-After": "0"}, content_type="text/html"), Reply(200, OK))
    assert (await client_of().release("esc_1")).escrow_id == "esc_1"
    assert len(server.received) == 2


async def test_a_long_wait_is_left_to_the_caller(server, client_of):
    server.replies(Reply(429, {"error": "rate_limited"}, {"Retry-After": "30"}))
    with pytest.raises(RateLimited) as caught:
        await client_of().release("esc_1")
    assert caught.value.delay_seconds == 30
    assert len(server.received) == 1


async def test_a_faucets_refusal_is_an_outcome_and_not_repeated(server, client_of):
    server.replies(Reply(429, {"error": "ip_rate_limited", "message": "one a day"}, {"Retry-After": "0"}))
    claim = await client_of().claim("ag_1")
    assert (claim.outcome, claim.code, claim.reason) == (ClaimOutcome.RATE_LIMITED, "ip_rate_limited", "one a day")
    assert len(server.received) == 1


# --- secrets


@pytest.mark.parametrize("status", [200, 400, 401, 409, 429, 500])
async def test_a_key_that_the_service_echoes_everywhere_is_shown_nowhere(status, server, client_of, caplog):
    caplog.set_level(logging.DEBUG)
    echo = {"error": f"bad_{KEY}", "message": f"Bearer {KEY} is wrong", "status": KEY, "escrow_id": KEY}
    server.replies(Reply(status, echo, {"X-Echo": KEY, "Location": f"https://{KEY}@elsewhere/{KEY}"}))
    client = client_of()
    with pytest.raises(Exception) as caught:  # noqa: PT011 - whichever it is
        await client.release("esc_1")
    logging.getLogger("test").exception("it said", exc_info=caught.value)
    shown = [str(caught.value), repr(caught.value), str(vars(caught.value)), repr(client), caplog.text]
    assert not [text for text in shown if KEY in text]
    assert "[redacted]" in caplog.text


def test_a_server_cannot_write_into_our_log_lines():
    assert _text("one\ntwo\x1b[31m") == "one?two?[31m"
    assert len(_text("x" * 9999) or "") == 200


# --- URLs


@pytest.mark.parametrize(
    "url",
    [
        "",
        "escrow.example",
        "//escrow.example",
        "https://",
        "ftp://escrow.example",
        "http://escrow.example",
        "https://escrow.example?x=1",
        "https://escrow.example#x",
        "https://escrow.example:port",
        "https://escrow.example:99999",
        "https://esc row.example",
        "https://[::1",
        f"https://user:{KEY}@escrow.example",
        f"https://{KEY}@escrow.example",
    ],
)
def test_a_url_that_cannot_work_is_refused_without_showing_credentials(url):
    with pytest.raises(BadInput) as caught:
        checked_url(url, allow_http=False)
    assert KEY not in str(caught.value)
    assert "user" not in str(caught.value)


def test_a_url_may_have_a_port_and_a_path():
    assert checked_url("https://escrow.example:8443/pf/", allow_http=False) == "https://escrow.example:8443/pf"
    assert checked_url("http://127.0.0.1:8080", allow_http=True) == "http://127.0.0.1:8080"
