"""One exchange over HTTP: sends a request, bounds the answer in time and size, and names what went wrong.

What a failure means depends on one question, whether the service may have acted:

    before the first byte was sent                            Unreachable (Retryable)
    429; 401; 3xx that says "ask elsewhere"                   refused unread: RateLimited; Unauthorized; BadInput
    another 4xx with a JSON object                            the service refused: NotFound, Conflict, Rejected
    all else: 5xx, 408, a 4xx page of some proxy, silence,    a repeatable operation: Unavailable (Retryable)
    half an answer, HTML, an empty or malformed 200           any other: OutcomeUnknown
"""

import asyncio
import email.utils
import json
import os
import re
import ssl
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache, partial
from typing import Any

import msgspec

from runtime.credentials import Credentials
from runtime.environment import checked_url
from runtime.errors import (
    BadInput,
    Conflict,
    Facts,
    NotFound,
    OutcomeUnknown,
    Problem,
    PurpleFleaError,
    RateLimited,
    Rejected,
    Unauthorized,
    Unavailable,
    Unreachable,
)
from runtime.money import loads
from runtime.network import trust_store
from runtime.payments.answer import Answer
from runtime.payments.dialect import JSON, Request, Service
from runtime.payments.http import (
    HttpAnswer,
    Limits,
    MakeHttp,
    NotConnected,
    TimedOut,
    Timeouts,
    Unwritable,
    named,
)
from runtime.payments.model import Operation
from runtime.redaction import excerpt
from runtime.trace import outgoing

_LONGEST_RETRY_AFTER_SECONDS = 3600.0
# The published server counts per minute and sends no Retry-After; asking again at once would only be counted too.
_DEFAULT_RETRY_AFTER_SECONDS = 20.0


class Transport:
    """Owns the process's connections, one trust store, and two HTTP clients: to read, and to act.

    Args:
        urls: Base URL of each service that is used.
        credentials: Asked for the key at every authenticated request.
        timeouts: See `Timeouts`.
        limits: See `Limits`.
        tls: An own trust store, e.g. a company's; default is the public one. There is no way to switch checking off.
        allow_http: Permits `http://` URLs, and then uses no proxy from the environment: a sandbox is near.
        http: Makes the clients, instead of httpx.
    """

    def __init__(
        self,
        urls: Mapping[Service, str],
        credentials: Credentials,
        timeouts: Timeouts,
        limits: Limits,
        *,
        tls: ssl.SSLContext | None = None,
        allow_http: bool = False,
        http: MakeHttp | None = None,
    ) -> None:
        self._urls = {service: checked_url(url, allow_http=allow_http) for service, url in urls.items()}
        self._credentials = credentials
        self._exchange_seconds = timeouts.exchange_seconds
        self._body_bytes = limits.body_bytes
        # What cannot be repeated goes over a connection of its own. On a kept one the service may just be hanging up,
        # which leaves the outcome unknown, or a duplicated answer may wait there and be taken for this request's.
        trust = tls or trust_store(plain=allow_http)
        make = http or _plain_http(proxied=not allow_http)
        self.ahead: timedelta | None = None
        """How far the service's clock is ahead of ours, by its last answer; None before it told."""
        self.answered_at: datetime | None = None
        """When the service last answered anything at all."""
        self._reading = make(trust, timeouts, limits)
        self._acting = make(trust, timeouts, replace(limits, kept_alive=0))

    async def close(self) -> None:
        """Close every connection."""
        await self._reading.aclose()
        await self._acting.aclose()

    async def exchange(self, request: Request) -> Answer:
        """Send once and return a JSON object that came with a 2xx.

        Raises:
            PurpleFleaError: Of the class that the table at the top of this module gives.
        """
        facts = Facts(operation=request.operation, escrow_id=request.escrow_id, request_id=os.urandom(16).hex())
        arguments = self._arguments(request, facts)
        http = self._reading if request.operation.repeatable else self._acting
        try:
            async with (
                asyncio.timeout(self._exchange_seconds),
                http.stream(request.endpoint.method, **arguments) as response,
            ):
                facts["status"] = response.status_code
                self.answered_at = datetime.now(UTC)
                if moment := _server_time(response):
                    self.ahead = moment - self.answered_at
                body = await self._bounded_body(response, request, facts)
        except NotConnected as error:
            reason = f"no connection to the {request.endpoint.service} service: {error}"
            raise Unreachable(reason, **facts | {"problem": Problem.NO_CONNECTION}) from None
        except (TimedOut, TimeoutError) as error:
            raise lost(request, Problem.TIMEOUT, f"no complete answer in time: {named(error)}", facts) from None
        except Unwritable as error:
            raise BadInput(f"the request could not be written: {error}", **facts) from None
        except PurpleFleaError:
            raise
        except Exception as error:  # also what a client lets through, e.g. ssl.SSLError: once sent, all is possible
            raise lost(request, Problem.BROKEN_OFF, f"the answer broke off: {named(error)}", facts) from None
        return _read(request, response, body, facts)

    def _arguments(self, request: Request, facts: Facts) -> dict[str, Any]:
        base = self._urls.get(request.endpoint.service)
        if base is None:
            raise BadInput(f"no URL of the {request.endpoint.service} service is set", **facts)
        headers = {"Accept": request.endpoint.accept, "X-Request-Id": facts["request_id"] or "", **outgoing()}
        if request.endpoint.authenticated:
            try:
                headers["Authorization"] = f"Bearer {self._credentials.key()}"
            except (Unauthorized, BadInput) as error:
                raise type(error)(error.message, **facts) from None
        content = None
        if request.body is not None:
            headers["Content-Type"] = JSON
            content = json.dumps(request.body, allow_nan=False).encode()
        return {"url": base + request.path, "headers": headers, "content": content, "params": request.query or None}

    async def _bounded_body(self, response: HttpAnswer, request: Request, facts: Facts) -> bytearray:
        body = bytearray()  # joined pieces would stand in memory twice, and a list may be long
        async for piece in response.aiter_raw():  # raw: we asked for no compression, so nothing can inflate
            if len(body) + len(piece) > self._body_bytes:
                raise lost(request, Problem.TOO_LARGE, f"the answer is longer than {self._body_bytes} bytes", facts)
            body += piece
        return body


def _plain_http(*, proxied: bool) -> MakeHttp:
    from runtime.payments.plain_http import PlainHttp  # here: who brings a client of its own need not load httpx

    return partial(PlainHttp, proxied=proxied)


def lost(request: Request, problem: Problem, message: str, facts: Facts) -> PurpleFleaError:
    """Return the error for an exchange that nobody can tell the outcome of."""
    kind = Unavailable if request.operation.repeatable else OutcomeUnknown
    return kind(message, **facts | {"problem": problem})


def _read(request: Request, response: HttpAnswer, body: bytearray, facts: Facts) -> Answer:
    status = response.status_code
    content_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    expected = content_type in request.endpoint.accept.split(", ")
    whole = request.operation is not Operation.LIST or status not in (200, 201)
    parsed, flaw = (
        _parse(content_type, body, whole=whole) if expected else (None, f"the answer is {content_type or 'untyped'}")
    )
    if status not in (200, 201):
        raise _refusal(request, response, parsed, facts)
    if parsed is None:
        raise lost(request, Problem.MALFORMED if expected else Problem.CONTENT_TYPE, flaw, facts)
    return Answer(parsed, _server_time(response), facts["request_id"])


def _parse(content_type: str, body: bytearray, *, whole: bool) -> tuple[dict[str, Any] | None, str]:
    """Return the JSON object, or None and what is wrong; where it is not wanted whole, its fields are left as JSON."""
    if content_type == "text/event-stream":
        events = re.findall(rb"^data: ?(.*)$", body, re.MULTILINE)
        body = events[-1] if events else bytearray()
    if not body:
        return None, "the answer is empty"
    try:
        parsed = loads(body) if whole else msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except (ValueError, RecursionError):
        return None, f"the answer's {len(body)} bytes are not JSON"
    return (parsed, "") if isinstance(parsed, dict) else (None, "the answer is JSON but no object")


def _refusal(request: Request, response: HttpAnswer, body: Mapping[str, Any] | None, facts: Facts) -> PurpleFleaError:
    status = response.status_code
    facts = facts | {"code": _text((body or {}).get("error"))}
    message = _text((body or {}).get("message")) or f"the service answered {response.reason_phrase or status}"
    if status == 429:
        return RateLimited(message, delay_seconds=_retry_after(response), **facts)
    if status == 401:
        return Unauthorized(f"the key was refused: {message}", **facts)
    if status in (301, 307, 308):
        problem = Facts(problem=Problem.REDIRECT)
        return BadInput("the service URL redirects elsewhere; the key was not sent there", **facts | problem)
    if 400 <= status < 500 and status not in (408, 425) and body is not None:
        kind = {404: NotFound, 409: Conflict}.get(status, Rejected)
        return kind(message, **facts)
    problem = Problem.SERVER_ERROR if status >= 500 else Problem.UNEXPECTED_STATUS
    return lost(request, problem, message, facts)


def _text(value: object) -> str | None:
    """Return a server's text fit for a log line: bounded, and on one line."""
    return re.sub(r"[^ -~]", "?", excerpt(value, 200)) if isinstance(value, str) and value else None


def _server_time(response: HttpAnswer) -> datetime | None:
    return _http_date(response.headers.get("date", ""))


@lru_cache(maxsize=16)
def _http_date(text: str) -> datetime | None:
    """The moment; the same text stands in all answers of a second, and is read twice in each."""
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _retry_after(response: HttpAnswer) -> float:
    """Read Retry-After, seconds or a date by the service's own clock, between 0 and an hour."""
    text = response.headers.get("retry-after", "").strip()
    if re.fullmatch(r"[0-9]{1,9}", text):
        seconds = float(text)
    elif until := _http_date(text):
        seconds = (until - (_server_time(response) or datetime.now(UTC))).total_seconds()
    else:
        seconds = _DEFAULT_RETRY_AFTER_SECONDS
    return min(max(seconds, 0.0), _LONGEST_RETRY_AFTER_SECONDS)
