"""Settings from the environment. A program declares each variable once; reading, help and the reference page follow.

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        required: bool = flag(Env.FAUCET_REQUIRED, "Fail the pod if the faucet is unreachable.", default=False)
        deadline_seconds: int = number(Env.FAUCET_DEADLINE_SECONDS, "...", least=1, most=3600, default=60)

    settings = read(Settings, os.environ)

A variable that is missing, empty or blank is not set: it has its default, and without one that is a mistake. `read`
reports every mistake at once, each with the variable's name, what stands there and what is expected. A class may take
in another one's variables with `group`, and check several together in `__post_init__`, which raises `BadInput`.
"""

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from runtime.contract import Env
from runtime.errors import AmountError, BadInput, PurpleFleaError, Unauthorized
from runtime.money import Usdc
from runtime.redaction import excerpt, stripped_secret

S = TypeVar("S")

REQUIRED: Final[Any] = object()
"""The default of a variable that has to be set."""

_KEY: Final = "variable"
_GROUP: Final = "group"


@dataclass(frozen=True, slots=True)
class Variable:
    """One declared environment variable.

    Args:
        name: As it stands in the environment.
        meaning: A sentence or two for people.
        takes: What values are accepted, for people.
        default: Its value when it is not set; `REQUIRED` for none.
        convert: Makes the value of the text; raises ValueError, or BadInput whose message says all.
        unset: What holds when it is not set, for people, where that is more than the default.
        secret: Whether the value must never be shown.
    """

    name: str
    meaning: str
    takes: str
    default: Any
    convert: Callable[[str, Mapping[str, str]], Any]
    unset: str = ""
    secret: bool = False

    @property
    def without(self) -> str:
        """What holds when it is not set, for people."""
        if self.unset:
            return self.unset
        if self.default is REQUIRED:
            return "required"
        if self.default is None:
            return "none"
        return f"`{str(self.default).lower() if isinstance(self.default, bool) else self.default}`"

    def read(self, environ: Mapping[str, str]) -> Any:
        """Return the value. Raises BadInput, which names the variable."""
        text = environ.get(self.name, "")
        if not text.strip():
            if self.default is REQUIRED:
                raise BadInput(f"{self.name} is not set: expected {self.takes.replace('`', '')} ({self.meaning})")
            return self.default
        try:
            return self.convert(text if self.secret else text.strip(), environ)
        except BadInput as error:
            raise BadInput(f"{self.name}: {error.message}") from None
        except ValueError:
            shown = "not what it can be" if self.secret else repr(excerpt(text.strip(), 40))
            raise BadInput(f"{self.name} is {shown}: expected {self.takes.replace('`', '')}") from None


class Mistakes(BadInput):
    """Several wrong settings, each in words of its own."""

    def __init__(self, found: list[PurpleFleaError]) -> None:
        super().__init__("\n".join(mistake.message for mistake in found))


def read(settings: type[S], environ: Mapping[str, str] = os.environ) -> S:
    """Build a settings class from the environment.

    Raises:
        BadInput: One or more variables are missing or wrong; each has its own line in the message.
    """
    values: dict[str, Any] = {}
    mistakes: list[PurpleFleaError] = []
    for each in fields(settings):  # ty: ignore[invalid-argument-type] - a dataclass, as every settings class
        try:
            if variable := each.metadata.get(_KEY):
                values[each.name] = variable.read(environ)
            elif group_class := each.metadata.get(_GROUP):
                values[each.name] = read(group_class, environ)
        except (BadInput, Unauthorized) as error:
            mistakes.append(error)
    if mistakes:
        raise mistakes[0] if len(mistakes) == 1 else Mistakes(mistakes)
    return settings(**values)


def variables(settings: type[Any]) -> Iterator[Variable]:
    """Every variable that a settings class declares, those of its groups included."""
    for each in fields(settings):
        if variable := each.metadata.get(_KEY):
            yield variable
        elif group_class := each.metadata.get(_GROUP):
            yield from variables(group_class)


# --- the kinds of variables; each returns a dataclass field


def _declared(variable: Variable) -> Any:
    metadata, shown = {_KEY: variable}, not variable.secret
    if variable.default is REQUIRED:
        return field(metadata=metadata, repr=shown)
    return field(metadata=metadata, repr=shown, default=variable.default)


def group(settings: type[S]) -> S:
    """The variables of another settings class, as one field."""
    return field(metadata={_GROUP: settings})


def text(name: str, meaning: str, *, default: Any = REQUIRED, unset: str = "") -> Any:
    """Any text, without blanks around it."""
    return _declared(Variable(name, meaning, "text", default, lambda word, _: word, unset))


def path(name: str, meaning: str, *, default: Any = REQUIRED, unset: str = "") -> Any:
    """A file or folder, as `Path`."""
    return _declared(Variable(name, meaning, "a path", default, lambda word, _: Path(word), unset))


def secret(name: str, meaning: str, *, default: Any = REQUIRED) -> Any:
    """A text that no log, error or `repr` shows; stripped once, see `stripped_secret`."""
    return _declared(
        Variable(name, meaning, "a secret", default, lambda word, _: stripped_secret(word, name), secret=True)
    )


def choice(name: str, meaning: str, words: type[StrEnum], *, default: Any = REQUIRED, unset: str = "") -> Any:
    """One of the words of an enumeration."""
    known = ", ".join(f"`{word}`" for word in words)
    return _declared(Variable(name, meaning, f"one of {known}", default, lambda word, _: words(word), unset))


def flag(name: str, meaning: str, *, default: Any = REQUIRED, unset: str = "") -> Any:
    """`true` or `false`, in any case; nothing else, in any program."""
    return _declared(Variable(name, meaning, "`true` or `false`", default, lambda word, _: _flag(word), unset))


def number(name: str, meaning: str, *, least: int, most: int, default: Any = REQUIRED, unset: str = "") -> Any:
    """A whole number within bounds."""

    def convert(word: str, _: Mapping[str, str]) -> int:
        if not re.fullmatch("[0-9]{1,18}", word) or not least <= int(word) <= most:
            raise ValueError(word)
        return int(word)

    return _declared(Variable(name, meaning, f"a whole number from {least} to {most}", default, convert, unset))


def amount(name: str, meaning: str, *, default: Any = REQUIRED, unset: str = "") -> Any:
    """An amount of USDC as `Usdc`, zero included."""

    def convert(word: str, _: Mapping[str, str]) -> Usdc:
        try:
            return Usdc.parse(word)
        except AmountError as error:
            raise BadInput(error.message) from None

    return _declared(Variable(name, meaning, "an amount of USDC like `0.10`", default, convert, unset))


def rate(name: str, meaning: str, *, default: Decimal) -> Any:
    """USDC for a unit of something, as `Decimal`: it may be finer than an amount."""

    def convert(word: str, _: Mapping[str, str]) -> Decimal:
        if not re.fullmatch(r"[0-9]{1,4}(\.[0-9]{1,12})?", word):
            raise ValueError(word)
        return Decimal(word)

    takes = "USDC like `0.0000025`: up to four digits before the point and twelve after it"
    return _declared(Variable(name, meaning, takes, default, convert, f"`{default:f}`"))


def url(name: str, meaning: str, *, default: Any = REQUIRED, unset: str = "") -> Any:
    """Base URL of a service; `http://` only where `PF_ALLOW_HTTP` permits it."""

    def convert(word: str, environ: Mapping[str, str]) -> str:
        return checked_url(word, allow_http=_allows_http(environ))

    return _declared(Variable(name, meaning, "a URL like `https://host[:port]`", default, convert, unset))


def time_zone(name: str, meaning: str, *, default: str) -> Any:
    """A time zone by its IANA name, as `tzinfo`."""

    def convert(word: str, _: Mapping[str, str]) -> ZoneInfo:
        try:
            return ZoneInfo(word)
        except (ZoneInfoNotFoundError, OSError):
            raise ValueError(word) from None

    takes = "a time zone like `Europe/Berlin`"
    return _declared(Variable(name, meaning, takes, ZoneInfo(default), convert, f"`{default}`"))


def texts(name: str, meaning: str, *, default: tuple[str, ...]) -> Any:
    """A JSON list of texts, as a tuple."""

    def convert(word: str, _: Mapping[str, str]) -> tuple[str, ...]:
        found = json.loads(word)
        if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
            raise ValueError(word)
        return tuple(found)

    shown = f"`{json.dumps(default)}`"
    return _declared(Variable(name, meaning, 'a JSON list like `["a", "b"]`', default, convert, shown))


def _flag(word: str) -> bool:
    if word.lower() not in ("true", "false"):
        raise ValueError(word)
    return word.lower() == "true"


def _allows_http(environ: Mapping[str, str]) -> bool:
    """A wrong flag allows nothing here, and is reported where it is declared."""
    return environ.get(Env.ALLOW_HTTP, "").strip().lower() == "true"


def checked_url(url: str, *, allow_http: bool) -> str:
    """Return the service's base URL without a trailing slash.

    Raises:
        BadInput: No scheme or host, credentials or a query in it, or `http://` where it is not allowed. Never shows
            credentials.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise BadInput("a service URL is malformed; expected something like https://escrow.purpleflea.com") from None
    shown = f"{parts.scheme or '(no scheme)'}://{parts.hostname or '(no host)'}{f':{port}' if port else ''}"
    if parts.username is not None or parts.password is not None:
        raise BadInput(f"the URL {shown} carries credentials: the key belongs into its own setting")
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise BadInput(f"the service URL {shown} is not https://host[:port]")
    if parts.scheme == "http" and not allow_http:
        raise BadInput(f"{shown} would send the key in the clear: use https, or allow http beside a sandbox")
    if parts.query or parts.fragment or not re.fullmatch(r"[!-~]+", url):
        raise BadInput(f"the service URL {shown} has a query, a fragment or blanks")
    return url.rstrip("/")
