"""The ledger page: the books for a person's eyes, live, without anything from elsewhere."""

import secrets
from typing import Any, Final

from jinja2 import Environment, PackageLoader
from starlette.responses import HTMLResponse

from runtime.sandbox.clock import iso_time
from runtime.sandbox.rest import Service
from runtime.sandbox.statement import accounts, escrows, movements, statement_summary

_SHOWN: Final = 50
_TEMPLATES: Final = Environment(
    loader=PackageLoader("runtime.sandbox", "."), autoescape=True, trim_blocks=True, lstrip_blocks=True
)


def render_page(service: Service) -> HTMLResponse:
    """The page, with a content security policy that lets only its own style and script run."""
    nonce = secrets.token_urlsafe(16)
    html = _TEMPLATES.get_template("page.html.jinja").render(_content(service), nonce=nonce)
    policy = f"default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; connect-src 'self'; "
    policy += "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    headers = {"content-security-policy": policy, "referrer-policy": "no-referrer", "x-content-type-options": "nosniff"}
    return HTMLResponse(html, headers=headers | {"cache-control": "no-store"})


def _content(service: Service) -> dict[str, Any]:
    with service.database.snapshot() as connection:
        states = connection.execute("SELECT status, count(*) AS number FROM escrows GROUP BY status").fetchall()
        return statement_summary(connection, service.clock.now()) | {
            "states": {row["status"]: row["number"] for row in states},
            "accounts": [a for a in accounts(connection) if not a["account"].startswith("escrow:")][:_SHOWN],
            "escrows": escrows(connection, _SHOWN),
            "movements": movements(connection, _SHOWN),
            "faults": service.faults,
            "iso_time": iso_time,
            "shown": _SHOWN,
        }
