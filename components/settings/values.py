"""Types of single settings: each says in its error what is allowed and in what unit."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError
from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

USDC_PATTERN = r"^[0-9]{1,9}(\.[0-9]{1,6})?$"
_QUANTITY = re.compile(r"^([0-9]+(?:\.[0-9]+)?)(m|Ki|Mi|Gi|Ti|k|M|G|T)?$")
_FACTORS = {
    "": Decimal(1),
    "m": Decimal("0.001"),
    **{unit: Decimal(1000) ** power for power, unit in enumerate(("k", "M", "G", "T"), 1)},
    **{unit: Decimal(1024) ** power for power, unit in enumerate(("Ki", "Mi", "Gi", "Ti"), 1)},
}
_LABEL = re.compile(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
_IMAGE = re.compile(
    r"^[a-z0-9]+([._:/-]+[a-zA-Z0-9]+)*(:(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})|@sha256:[0-9a-f]{64})$"
)


def quantity(text: str) -> Decimal:
    """The number behind a Kubernetes quantity, e.g. `250m` → 0.25 cores, `64Mi` → 67108864 bytes."""
    match = _QUANTITY.match(text)
    if match is None:
        raise ValueError(f"{text!r} is no Kubernetes quantity; write e.g. '250m' or '64Mi'")
    return Decimal(match[1]) * _FACTORS[match[2] or ""]


def usdc_text(amount: Decimal) -> str:
    """An amount as manifests carry it: plain decimal notation, at least two decimals."""
    whole_cents = amount.quantize(Decimal("0.01"))
    return format(whole_cents if whole_cents == amount else amount.normalize(), "f")


def _usdc(value: object) -> Decimal:
    if isinstance(value, (bool, float)):
        raise ValueError('write the amount in quotes, e.g. "0.10": a bare YAML number is a binary float')
    try:
        amount = value if isinstance(value, Decimal) else Decimal(str(value))
    except InvalidOperation:
        raise ValueError(f"{str(value)[:40]!r} is no amount; write USDC as a decimal string, e.g. '0.10'") from None
    if not re.match(USDC_PATTERN, format(amount, "f") if amount.is_finite() else str(amount)):
        raise ValueError(f"{value} USDC: allowed are 0 to 999999999.999999 with at most six decimals")
    return amount


def _text(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _resource(units: str, unit_prose: str) -> Callable[[str], str]:
    def check(text: str) -> str:
        match = _QUANTITY.match(text)
        if match is None or (match[2] or "") not in units.split(","):
            raise ValueError(f"{text!r} is no quantity of {unit_prose}")
        if quantity(text) <= 0:
            raise ValueError(f"{text!r} must be more than zero")
        return text

    return check


def _cron(text: str) -> str:
    if len(text.split()) != 5 or re.search(r"[L#W?]", text):
        raise ValueError(
            f"{text!r}: five fields are needed: minute hour day-of-month month day-of-week, e.g. '0 * * * *'"
        )
    try:
        next(CronSim(text, datetime(2026, 1, 1, tzinfo=UTC)))
    except CronSimError as error:
        raise ValueError(f"{text!r} is no cron expression: {error}") from None
    except StopIteration:
        raise ValueError(f"{text!r} names a date that never comes") from None
    return text


def _time_zone(text: str) -> str:
    try:
        ZoneInfo(text)
    except (ValueError, OSError, KeyError):
        raise ValueError(f"{text!r} is no IANA time zone; write e.g. 'Etc/UTC' or 'Europe/Berlin'") from None
    return text


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise ValueError(f"{text!r}: a URL with scheme and host is needed, e.g. 'https://escrow.purpleflea.com'")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("a service URL carries no user, password, query or fragment; credentials belong in the Secret")
    return text.rstrip("/")


def _dns_label(text: str) -> str:
    if len(text) > 63 or not _LABEL.match(text):
        raise ValueError(f"{text!r}: at most 63 of a-z, 0-9 and '-', starting and ending with a letter or digit")
    return text


def _dns_name(text: str) -> str:
    if len(text) > 253 or not all(_LABEL.match(part) for part in text.split(".")):
        raise ValueError(f"{text!r}: at most 253 of a-z, 0-9, '-' and '.', as in a DNS name")
    return text


def _optional(check: Callable[[str], str]) -> Callable[[str], str]:
    return lambda text: check(text) if text else text


def _image(text: str) -> str:
    match = _IMAGE.match(text)
    if match is None or match["tag"] == "latest":
        raise ValueError(f"{text!r}: pin the image by a tag other than 'latest' or by '@sha256:...'")
    return text


def _watched(text: str) -> str:
    if text.startswith("selector:"):
        if not re.match(r"^selector:([-A-Za-z0-9_.]+/)?[-A-Za-z0-9_.]{1,63}=[-A-Za-z0-9_.]{1,63}$", text):
            raise ValueError(f"{text!r}: a selector over namespaces reads 'selector:key=value'")
        return text
    names = [_dns_label(name) for name in text.split(",")]
    if len(set(names)) < len(names):
        raise ValueError(f"{text!r} names a namespace twice")
    return text


def _schema(pattern: str, *examples: str) -> Any:
    """What Helm and editors are told: the validator's rule as far as a pattern can say it."""
    return WithJsonSchema({"type": "string", "pattern": pattern, "examples": list(examples)})


_CPU_PATTERN = r"^[0-9]+(\.[0-9]+)?m?$"
_MEMORY_PATTERN = r"^[0-9]+(\.[0-9]+)?(Ki|Mi|Gi|Ti|k|M|G|T)?$"
_CRON_PATTERN = r"^\S+ +\S+ +\S+ +\S+ +\S+$"
_URL_PATTERN = r"^https?://[^/?#@\s]+[^?#\s]*$"
_LABEL_PATTERN = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"
_NAME_PATTERN = r"^[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?$"
_IMAGE_PATTERN = r"^[a-z0-9][^@\s]*(:[A-Za-z0-9_][A-Za-z0-9_.-]*|@sha256:[0-9a-f]{64})$"

Usdc = Annotated[Decimal, BeforeValidator(_usdc), _schema(USDC_PATTERN, "0.10")]
"""An amount in USDC: decimal string, at most six decimals, never a float."""
OptionalUsdc = Annotated[
    Usdc | None,
    BeforeValidator(lambda value: None if value == "" else value),
    WithJsonSchema({"type": ["string", "null"], "pattern": f"^$|{USDC_PATTERN}", "examples": ["0.10"]}),
]
"""An amount in USDC, or empty for no bound."""
Cpu = Annotated[
    str,
    BeforeValidator(_text),
    AfterValidator(_resource(",m", "CPU; write cores '1' or thousandths '250m'")),
    _schema(_CPU_PATTERN, "250m"),
]
Memory = Annotated[
    str,
    BeforeValidator(_text),
    AfterValidator(_resource("Ki,Mi,Gi,Ti,k,M,G,T,", "bytes; write e.g. '64Mi'")),
    _schema(_MEMORY_PATTERN, "64Mi"),
]
Cron = Annotated[str, AfterValidator(_cron), _schema(_CRON_PATTERN, "0 * * * *")]
OptionalCron = Annotated[str, AfterValidator(_optional(_cron)), _schema(f"^$|{_CRON_PATTERN}", "0 * * * *")]
TimeZone = Annotated[str, AfterValidator(_time_zone), _schema(r"^[A-Za-z0-9_+/-]+$", "Europe/Berlin")]
OptionalUrl = Annotated[str, AfterValidator(_optional(_url)), _schema(f"^$|{_URL_PATTERN}", "https://host")]
DnsLabel = Annotated[str, AfterValidator(_dns_label), _schema(_LABEL_PATTERN, "agent-jobs")]
DnsName = Annotated[str, AfterValidator(_dns_name), _schema(_NAME_PATTERN, "my-name")]
OptionalDnsName = Annotated[str, AfterValidator(_optional(_dns_name)), _schema(f"^$|{_NAME_PATTERN}", "my-name")]
Image = Annotated[str, AfterValidator(_image), _schema(_IMAGE_PATTERN, "name:1.0")]
OptionalImage = Annotated[str, AfterValidator(_optional(_image)), _schema(f"^$|{_IMAGE_PATTERN}", "name:1.0")]
WatchedNamespaces = Annotated[
    str,
    AfterValidator(_optional(_watched)),
    _schema(r"^$|^selector:[^=,]+=[^=,]+$|^[-a-z0-9]+(,[-a-z0-9]+)*$", "agent-jobs,batch"),
]
Identifier = Annotated[str, Field(pattern=r"^$|^\S(.{0,126}\S)?$")]
"""An id at the payment service: any text on one line without blanks at its ends; no prefix is expected."""
Prose = Annotated[str, Field(pattern=r"^[^\x00]*$", max_length=16384)]
"""Text of an environment variable, which cannot hold NUL."""
SecretKey = Annotated[str, Field(pattern=r"^[-._a-zA-Z0-9]{1,253}$")]
EnvName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
TcpPort = Annotated[int, Field(ge=1, le=65535)]
