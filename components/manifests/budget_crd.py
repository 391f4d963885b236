"""The `Budget` definition: what a namespace may ask for, and what is reserved of it. `kubectl get budgets` shows it.

One object a namespace. `spec` is the platform's, who alone may write it (`ledger_policy`); the status is written by the
operator alone, each time by compare-and-swap. Its lists are bounded: lines of
agents and payees with something locked or spent today, and what is in flight at this moment.
"""

from components.manifests.crd_schema import amount, definition, reservation, text, time
from components.manifests.naming import Manifest
from components.settings import Settings
from runtime.contract import BUDGET_KIND, BUDGET_NAME, BUDGET_PLURAL, ESCROW_GROUP, MOST_IN_FLIGHT, MOST_NAMES

NAME = f"{BUDGET_PLURAL}.{ESCROW_GROUP}"


def custom_resource_definition(settings: Settings) -> Manifest:
    """The definition, served and stored in one version with a status subresource."""
    return definition(settings, BUDGET_KIND, BUDGET_PLURAL, schema(), _columns())


def schema() -> Manifest:
    """The OpenAPI schema of one Budget."""
    return {
        "type": "object",
        "description": "What a namespace may ask for, and what is reserved of it before anything is sent.",
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": _spec(),
            "status": _status(),
        },
        "x-kubernetes-validations": [
            {
                "rule": f"self.metadata.name == '{BUDGET_NAME}'",
                "message": f"the one Budget of a namespace is called {BUDGET_NAME}",
            }
        ],
    }


def _spec() -> Manifest:
    amounts = {
        "namespaceUsdc": "USDC that may be locked in the namespace at one time.",
        "namespaceDailyUsdc": "USDC that may be locked in it in one day.",
        "agentUsdc": "The same for each agent at one time.",
        "agentDailyUsdc": "The same for each agent in one day.",
        "payeeUsdc": "The same for each payee at one time.",
        "payeeDailyUsdc": "The same for each payee in one day.",
        "jobUsdc": "USDC that may be locked for one Job.",
    }
    names = {
        "payees": _list(64, "Who may be paid; `*` stands for any characters.", text(128)) | {"minItems": 1},
        "allowedEscrows": _list(256, "Escrows whose terms need not name the Job that brings them.", text(520)),
        "bringEscrows": {"type": "boolean", "description": "Whether Jobs may bring an escrow made for them."},
    }
    return {
        "type": "object",
        "description": "What the platform says of this namespace; the rest is as in the stack's settings.",
        "properties": {name: amount(words) for name, words in amounts.items()} | names,
    }


def _status() -> Manifest:
    properties = {
        "day": text(10, "Date of what is spent, by the stack's time zone; it never goes back."),
        "limitUsdc": amount("USDC that the namespace may have locked at one time."),
        "lockedUsdc": amount("USDC that are locked, or about to be; in review, too."),
        "leftUsdc": amount("USDC that may still be locked."),
        "dailyLimitUsdc": amount("USDC that the namespace may lock in one day."),
        "spentUsdc": amount("USDC that were locked on that day, whatever became of them."),
        "leftTodayUsdc": amount("USDC that may still be locked on that day."),
        "agents": _lines("Agents with something locked, or spent on that day; the empty name: Jobs without one."),
        "payees": _lines("Payees with something locked, or spent on that day."),
        "pending": _list(
            MOST_IN_FLIGHT,
            "Reservations that are on no Escrow yet.",
            {
                "type": "object",
                "required": ["escrow", "since", "reservation"],
                "properties": {"escrow": text(253), "since": time(), "reservation": reservation()},
            },
        ),
        "returned": _list(
            MOST_IN_FLIGHT, "Settled Escrows whose part was returned, until they say so themselves.", text(253)
        ),
    }
    return {"type": "object", "properties": properties}


def _lines(description: str) -> Manifest:
    properties = {
        "name": {"type": "string", "maxLength": 253},
        "lockedUsdc": amount("USDC locked at this moment."),
        "spentUsdc": amount("USDC locked on that day."),
    }
    # Those of what was locked before there were limits come on top of the bound that the operator keeps.
    return _list(2 * MOST_NAMES, description, {"type": "object", "required": ["name"], "properties": properties})


def _list(most: int, description: str, items: Manifest) -> Manifest:
    return {"type": "array", "maxItems": most, "description": description, "items": items}


def _columns() -> list[Manifest]:
    paths = {
        "Limit": ".status.limitUsdc",
        "Locked": ".status.lockedUsdc",
        "Left": ".status.leftUsdc",
        "Daily": ".status.dailyLimitUsdc",
        "Spent": ".status.spentUsdc",
        "Left today": ".status.leftTodayUsdc",
        "Day": ".status.day",
    }
    return [{"name": name, "type": "string", "jsonPath": path} for name, path in paths.items()]
