"""What every agent does that can be seen from its HTTP surface alone. Each check gets a client of the agent."""

import secrets
from collections.abc import Callable

import httpx

CHECKS: list[Callable[[httpx.Client], None]] = []


def check(function: Callable[[httpx.Client], None]) -> Callable[[httpx.Client], None]:
    CHECKS.append(function)
    return function


def infer(http: httpx.Client, body: dict[str, object], key: str | None = None) -> httpx.Response:
    """Ask for one inference."""
    return http.post("/inference", json=body, headers={"idempotency-key": key} if key else {})


@check
def health_names_the_region(http: httpx.Client) -> None:
    answer = http.get("/health")
    assert answer.status_code == 200
    assert answer.json()["ok"] is True
    assert isinstance(answer.json()["region"], str)


@check
def ready_says_why_not(http: httpx.Client) -> None:
    answer = http.get("/ready")
    assert answer.status_code == (200 if answer.json()["ready"] else 503)
    assert bool(answer.json()["reasons"]) is not answer.json()["ready"]


@check
def wrong_requests_are_named(http: httpx.Client) -> None:
    """None of these may cost anything."""
    for body in ({}, {"prompt": "x"}, {"payer_wallet": " ", "prompt": "x"}):
        answer = infer(http, body)
        assert (answer.status_code, answer.json()["error"]) == (400, "payer_required"), body
    for body in ({"payer_wallet": 3}, {"payer_wallet": "w", "prompt": 7}, {"payer_wallet": "w", "prompt": None}):
        answer = infer(http, body)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request"), body
    for content in (b"", b"{", b"[]", b"null", b'{"prompt": NaN}', b"\xff\xfe", b"[" * 10_000):
        answer = http.post("/inference", content=content)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request"), content[:20]
    assert infer(http, {"payer_wallet": "x" * 300, "prompt": ""}).status_code == 400
    assert infer(http, {"payer_wallet": "w", "prompt": ""}, "k" * 300).status_code == 400
    assert http.get("/inference").status_code == 405
    assert http.get("/nothing").json()["error"] == "not_found"


@check
def prices_count_characters(http: httpx.Client) -> None:
    """The guide's price, if nothing else is set: max(0.001, 0.00001 x characters), characters and not bytes."""
    for prompt, cost in (("", 0.001), ("x" * 101, 0.00101), ("\u00e9" * 333, 0.00333)):
        answer = infer(http, {"payer_wallet": "w", "prompt": prompt})
        assert (answer.status_code, answer.json().get("cost_usdc")) == (200, cost), answer.text


@check
def a_key_is_worked_and_billed_once(http: httpx.Client) -> None:
    key, body = secrets.token_hex(8), {"payer_wallet": "w", "prompt": "once"}
    first, again = infer(http, body, key), infer(http, body, key)
    assert again.json() == first.json() | {"replayed": True}
    assert infer(http, body | {"prompt": "other"}, key).json()["error"] == "conflict"
    assert infer(http, body | {"payer_wallet": "other"}, key).status_code == 409


@check
def earnings_are_decimal_texts_by_region(http: httpx.Client) -> None:
    found = http.get("/earnings").json()
    assert isinstance(found["earned_usdc"], str)
    assert all(isinstance(told["amount_usdc"], str) for states in found["regions"].values() for told in states.values())
    assert found["who_pays"]
