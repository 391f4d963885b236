"""The Fly.io agent in Go: a folder that builds by itself, with schema and contract beside the source."""

import json

from components.manifests.templating import PROJECT
from runtime.contract import contract_json

SOURCE = PROJECT / "templates" / "fly" / "go"
_SCHEMA = PROJECT / "runtime" / "agent" / "schema.sql"

_PURPOSES = {
    "Dockerfile": "The image of the agent in Go: a static program and nothing else.",
    "contract.json": "The names that both languages agree on, from the contract.",
    "schema.sql": "The ledger's tables, the same for both languages.",
    "go.mod": "Its one module from elsewhere: SQLite without C.",
    "go.sum": "The checksums of what it takes to build.",
    "main.go": "The agent in Go: how it starts and stops.",
    "billing.go": "One inference: locked, worked, released or cancelled.",
    "database.go": "The ledger's one connection; writes that wait together are committed together.",
    "ledger.go": "The ledger: opened, checked, and read and written row by row.",
    "metrics.go": "What Fly scrapes: requests, and the ledger's own figures.",
    "money.go": "Amounts and prices in whole micro-USDC, never floats.",
    "names.go": "Reads the contract that stands beside it.",
    "payments.go": "Speaks the payment service's `fly` dialect, each act sent once.",
    "server.go": "The HTTP surface: inferences, earnings, health, readiness.",
    "settings.go": "Reads the environment, and names all that is wrong.",
    "work.go": "The work that is sold: put your own here.",
}
PURPOSES = {f"fly/go/{name}": purpose for name, purpose in _PURPOSES.items()}
"""What each file is for, by its path in the stack's folder."""


def go_files() -> dict[str, str]:
    """Path → content of the agent's folder, but for its fly.toml."""
    made = {
        "contract.json": json.dumps(contract_json(), indent=2) + "\n",
        "schema.sql": _SCHEMA.read_text(encoding="utf-8"),
    }
    return {
        f"fly/go/{name}": made[name] if name in made else (SOURCE / name).read_text(encoding="utf-8")
        for name in _PURPOSES
    }
