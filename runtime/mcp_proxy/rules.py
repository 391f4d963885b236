"""What an agent may call and spend: the rules file, read strictly, and the decision about one call.

    {"servers": {"escrow": {"allow": ["create_escrow", "get_escrow"], "spend_limit": "5.00", "payees": ["ag_1"]}},
     "budgets": [{"name": "pod", "limit": "20.00", "window": "pod", "on_exceed": "require_approval"}]}

Whatever cannot be judged is refused: an amount that cannot be read, a tool that may spend in a way nobody declared.
"""

import json
from collections.abc import Collection
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from runtime.errors import AmountError, BadInput
from runtime.mcp_proxy import tools
from runtime.mcp_proxy.message import Reason
from runtime.money import Usdc

_RULES_BYTES: Final = 256 * 1024


class Window(StrEnum):
    """Over what a budget adds up."""

    POD = "pod"
    """The pod's whole life."""
    DAY = "day"
    """A day in UTC."""


class OnExceed(StrEnum):
    """What becomes of a call that a budget cannot hold."""

    DENY = "deny"
    REQUIRE_APPROVAL = "require_approval"
    """It is refused until a person has approved this very call."""


@dataclass(frozen=True)
class ServerRules:
    """What holds for the tools of one server.

    Args:
        allow: Only these tools; None for all.
        deny: Not these; stronger than `allow`.
        spend_limit: The most that one call may lock; None for no bound.
        payees: Only these may be paid; None for anyone.
    """

    allow: frozenset[str] | None = None
    deny: frozenset[str] = frozenset()
    spend_limit: Usdc | None = None
    payees: frozenset[str] | None = None

    @property
    def hides_tools(self) -> bool:
        """Whether there is a tool that may not be called."""
        return self.allow is not None or bool(self.deny)

    def permits(self, tool: str) -> bool:
        """Whether the tool may be called at all."""
        return tool not in self.deny and (self.allow is None or tool in self.allow)


@dataclass(frozen=True)
class Budget:
    """A sum that all calls of its tools share.

    Args:
        tools: As `server/tool`; empty for every tool that spends.
    """

    name: str
    limit: Usdc
    window: Window = Window.POD
    tools: frozenset[str] = frozenset()
    on_exceed: OnExceed = OnExceed.DENY

    def counts(self, server: str, tool: str) -> bool:
        """Whether calls of the tool are paid from it."""
        return not self.tools or f"{server}/{tool}" in self.tools


class Refused(Exception):
    """A call that the rules do not let pass; nothing was sent. `facts` are for the agent, e.g. an approval's id."""

    def __init__(self, reason: Reason, text: str, **facts: Any) -> None:
        super().__init__(text)
        self.reason = reason
        self.text = text
        self.facts = facts


@dataclass(frozen=True)
class Rules:
    """All of them."""

    servers: dict[str, ServerRules] = field(default_factory=dict)
    budgets: tuple[Budget, ...] = ()

    def of(self, server: str) -> ServerRules:
        """The server's, which are none where it has none."""
        return self.servers.get(server, _NO_RULES)

    def judge(self, server: str, tool: str, arguments: dict[str, Any]) -> Usdc | None:
        """What the call would lock; None where it locks nothing, or nobody counts.

        Raises:
            Refused: It may not be sent.
        """
        rules = self.of(server)
        if not rules.permits(tool):
            raise Refused(
                Reason.DENIED, f"The tool {tool} is not allowed to this pod. Go on without it, or ask a person for it."
            )
        counted = rules.spend_limit is not None or any(budget.counts(server, tool) for budget in self.budgets)
        if tool in tools.SPENDS_NOTHING:
            return None
        if tool not in tools.SPENDS:
            if counted:
                raise Refused(Reason.AMOUNT, f"{tool} may spend, and what it spends is not known: {_ASK}")
            return None
        if rules.payees is not None and tools.payee_of(arguments) not in rules.payees:
            raise Refused(
                Reason.PAYEE,
                "That agent is not on the list of those who may be paid from this pod. "
                f"Another agent id or key of yours changes nothing: {_ASK}",
            )
        return self._within_limit(rules, arguments, counted)

    def _within_limit(self, rules: ServerRules, arguments: dict[str, Any], counted: bool) -> Usdc | None:
        try:
            amount = tools.amount_of(arguments)
        except AmountError as error:
            if counted:
                raise Refused(Reason.AMOUNT, f"The amount cannot be read, so no rule can be kept: {error}.") from None
            return None
        if rules.spend_limit is not None and amount > rules.spend_limit:
            raise Refused(
                Reason.SPEND_LIMIT,
                f"{amount} USDC is more than one call may lock here, which is {rules.spend_limit} USDC. "
                f"Do not split the amount or make another key: ask for less, or {_ASK}",
            )
        return amount


_NO_RULES: Final = ServerRules()
_ASK: Final = "ask the person who runs this agent to change the rules."


def load(file: Path, servers: Collection[str]) -> Rules:
    """The rules of a file, for these servers.

    Raises:
        BadInput: It cannot be read, or says something that no rule can be; names where.
    """
    try:
        text = file.read_bytes()[: _RULES_BYTES + 1]
        document = json.loads(text, object_pairs_hook=_distinct, parse_float=str)
    except OSError as error:
        raise BadInput(f"the rules in {file} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise BadInput(f"the rules in {file} are no JSON: {error}") from None
    try:
        return _rules(document, servers)
    except BadInput as error:
        raise BadInput(f"{file}: {error.message}") from None


def _rules(document: Any, known: Collection[str]) -> Rules:
    found = _object(document, "the file", {"servers", "budgets"})
    listed_servers = _object(found.get("servers", {}), "servers", known)
    servers = {name: _server(rules, f"servers.{name}") for name, rules in listed_servers.items()}
    listed = found.get("budgets", [])
    if not isinstance(listed, list):
        raise BadInput("budgets is not a list")
    budgets = tuple(_budget(budget, f"budgets[{index}]") for index, budget in enumerate(listed))
    if len({budget.name for budget in budgets}) != len(budgets):
        raise BadInput("two budgets have the same name")
    return Rules(servers, budgets)


def _server(document: Any, where: str) -> ServerRules:
    found = _object(document, where, {"allow", "deny", "spend_limit", "payees"})
    return ServerRules(
        allow=_words(found, "allow", where),
        deny=_words(found, "deny", where) or frozenset(),
        spend_limit=_amount(found, "spend_limit", where) if "spend_limit" in found else None,
        payees=_words(found, "payees", where),
    )


def _budget(document: Any, where: str) -> Budget:
    found = _object(document, where, {"name", "limit", "window", "tools", "on_exceed"})
    name = found.get("name")
    if not isinstance(name, str) or not name:
        raise BadInput(f"{where}.name is missing")
    counted = _words(found, "tools", where) or frozenset()
    if unknown := sorted(tool for tool in counted if tool.partition("/")[2] not in tools.SPENDS):
        # A budget of a misspelt tool would never hold anything back.
        expected = ", ".join(f"escrow/{tool}" for tool in sorted(tools.SPENDS))
        raise BadInput(f"{where}.tools has {', '.join(unknown)}, which is not known to spend; expected {expected}")
    return Budget(
        name=name,
        limit=_amount(found, "limit", where),
        window=_choice(Window, found.get("window", Window.POD), f"{where}.window"),
        tools=counted,
        on_exceed=_choice(OnExceed, found.get("on_exceed", OnExceed.DENY), f"{where}.on_exceed"),
    )


def _object(document: Any, where: str, known: Collection[str] | None = None) -> dict[str, Any]:
    if not isinstance(document, dict):
        raise BadInput(f"{where} is not an object")
    if known is not None and (unknown := sorted(set(document) - set(known))):
        raise BadInput(f"{where} has {', '.join(unknown)}; known are {', '.join(sorted(known))}")
    return document


def _words(found: dict[str, Any], name: str, where: str) -> frozenset[str] | None:
    if name not in found:
        return None
    words = found[name]
    if not isinstance(words, list) or not all(isinstance(word, str) and word for word in words):
        raise BadInput(f"{where}.{name} is not a list of texts")
    return frozenset(words)


def _amount(found: dict[str, Any], name: str, where: str) -> Usdc:
    try:
        return Usdc.parse(found.get(name))
    except AmountError as error:
        raise BadInput(f"{where}.{name}: {error.message}") from None


def _choice(words: type[Any], word: Any, where: str) -> Any:
    try:
        return words(word)
    except ValueError:
        raise BadInput(f"{where} is {word!r}: expected one of {', '.join(words)}") from None


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key comes twice in one object")
    return found
