"""Types of single settings: each says in its error what is allowed and in what unit."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Final

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    WithJsonSchema,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from components.settings import names, quantity
from components.settings.image_reference import LENGTHS as IMAGE_LENGTHS
from components.settings.image_reference import PATTERN as IMAGE_PATTERN
from components.settings.image_reference import ImageReference
from runtime.schedule import Schedule

USDC_PATTERN = r"^[0-9]{1,9}(\.[0-9]{1,6})?$"
LONGEST_PROSE = 16384


def usdc_text(amount: Decimal) -> str:
    """An amount as manifests carry it: plain decimal notation, at least two decimals."""
    whole_cents = amount.quantize(Decimal("0.01"))
    return format(whole_cents if whole_cents == amount else amount.normalize(), "f")


@dataclass(frozen=True, slots=True)
class Matching:
    """Text that a pattern describes, told in words: nobody is shown the pattern. Stands in `Annotated[str, ...]`."""

    pattern: str
    words: str
    example: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": "string", "pattern": f"^({self.pattern})$", "examples": [self.example]}

    def _check(self, text: str) -> str:
        if not re.fullmatch(self.pattern, text):
            raise ValueError(f"{text[:80]!r}: {self.words}")
        return text


def _usdc(value: object) -> Decimal:
    if isinstance(value, (bool, float)):
        raise ValueError('write the amount in quotes, e.g. "0.10": a bare YAML number is a binary float')
    if value is None or isinstance(value, (list, tuple, dict)):
        raise ValueError('an amount is needed: USDC as a decimal string, e.g. "0.10"')
    try:
        amount = value if isinstance(value, Decimal) else Decimal(str(value))
    except InvalidOperation:
        raise ValueError(f"{str(value)[:40]!r} is no amount; write USDC as a decimal string, e.g. '0.10'") from None
    # The text itself counts: Decimal also reads blanks, underscores, exponents and other scripts' digits.
    written = value if isinstance(value, str) else usdc_text(amount) if _is_plain(amount) else ""
    if not re.fullmatch(USDC_PATTERN[1:-1], written):
        raise ValueError(f"{str(value)[:40]} USDC: allowed are 0 to 999999999.999999 with at most six decimals")
    return amount


def _is_plain(amount: Decimal) -> bool:
    return amount.is_finite() and abs(amount.adjusted()) < 20


def _number_as_text(value: object) -> object:
    """A bare `2` for a quantity, as Kubernetes takes it too."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _quantity(text: str) -> str:
    if quantity.parse(text) < 0:
        raise ValueError(f"{text!r} must not be less than zero")
    return text


def _size(text: str) -> str:
    if quantity.parse(text) <= 0:
        raise ValueError(f"{text!r} must be more than zero")
    return text


def _schedule(text: str) -> str:
    Schedule.parse(text)
    return text


def pinned_image(text: str) -> str:
    """An image reference that names one image; raises `ValueError` with what is allowed."""
    reference = ImageReference.parse(text)
    if not reference.digest and reference.tag in ("", "latest"):
        raise ValueError(f"{text!r}: pin the image by a tag other than 'latest' or by '@sha256:...'")
    return text


def _identifier(text: str) -> str:
    if len(text) > 128 or text != text.strip() or not text.isprintable():
        raise ValueError(f"{text[:40]!r}: one line of at most 128 characters is needed, without blanks at its ends")
    return text


def _prose(text: str) -> str:
    if len(text) > LONGEST_PROSE or "\0" in text:
        raise ValueError(f"at most {LONGEST_PROSE} characters are allowed, and no NUL")
    return text


def _optional(check: Callable[[str], str]) -> Callable[[str], str]:
    return lambda text: check(text) if text else text


def _manifest_path(text: str) -> str:
    parts = text.split("/")
    if not re.fullmatch(r"[^\\\x00-\x1f\x7f]{1,1000}\.ya?ml", text) or {"", ".", ".."} & {*parts}:
        raise ValueError(
            f"{text!r}: a path below the stack file's folder that ends in .yaml, e.g. 'manifests/rules.yaml'"
        )
    return text


def _template(part: dict[str, Any]) -> dict[str, Any]:
    for key, value in part.items():
        if key not in ("metadata", "spec"):
            raise ValueError(f"{key!r} is no part of a template; put it below `spec` or `metadata`")
        if not isinstance(value, Mapping):
            raise ValueError(f"{key}: a mapping of keys is needed")
    for name in ("containers", "initContainers"):
        listed = part.get("spec", {}).get(name, ())
        if not (isinstance(listed, (list, tuple)) and all(isinstance(one, Mapping) for one in listed)):
            raise ValueError(f"spec.{name}: a list of containers is needed")
    return part


def _schema(pattern: str, example: str, **more: Any) -> Any:
    """What Helm and editors are told: the validator's rule as far as patterns can say it."""
    return WithJsonSchema({"type": "string", "pattern": pattern, "examples": [example], **more})


def _also(pattern: str) -> dict[str, Any]:
    return {"allOf": [{"pattern": pattern}]}


def _kubernetes(kind: str) -> Any:
    return WithJsonSchema({"type": "object", "additionalProperties": True, "x-kubernetes-kind": kind})


TIME_ZONE_PATTERN: Final = r"^[A-Za-z0-9_+/-]+$"
SCHEDULE_PATTERN: Final = r"^\s*\S+\s+\S+\s+\S+\s+\S+\s+\S+\s*$|^@[a-z]+$|^@every \S+$"

Usdc = Annotated[Decimal, BeforeValidator(_usdc), _schema(USDC_PATTERN, "0.10")]
"""An amount in USDC: decimal string, at most six decimals, never a float."""
OptionalUsdc = Annotated[
    Usdc | None,
    BeforeValidator(lambda value: None if value == "" else value),
    WithJsonSchema({"type": ["string", "null"], "pattern": f"^$|{USDC_PATTERN}", "examples": ["0.10"]}),
]
"""An amount in USDC, or empty for no bound. `"0"` is an amount."""
Cpu = Annotated[str, BeforeValidator(_number_as_text), AfterValidator(_quantity), _schema(quantity.PATTERN, "250m")]
Memory = Annotated[str, BeforeValidator(_number_as_text), AfterValidator(_quantity), _schema(quantity.PATTERN, "64Mi")]
Size = Annotated[str, BeforeValidator(_number_as_text), AfterValidator(_size), _schema(quantity.PATTERN, "1Gi")]
Cron = Annotated[str, AfterValidator(_schedule), _schema(SCHEDULE_PATTERN, "0 * * * *")]
OptionalCron = Annotated[str, AfterValidator(_optional(_schedule)), _schema(f"^$|{SCHEDULE_PATTERN}", "0 * * * *")]
TimeZone = Annotated[str, AfterValidator(names.time_zone), _schema(TIME_ZONE_PATTERN, "Europe/Berlin")]
OptionalUrl = Annotated[str, AfterValidator(_optional(names.url)), _schema(f"^$|{names.URL_PATTERN}", "https://host")]
DnsLabel = Annotated[str, AfterValidator(names.dns_label), _schema(names.LABEL_PATTERN, "agent-jobs")]
DnsName = Annotated[str, AfterValidator(names.dns_name), _schema(names.NAME_PATTERN, "my-name", maxLength=253)]
OptionalDnsName = Annotated[
    str, AfterValidator(_optional(names.dns_name)), _schema(f"^$|{names.NAME_PATTERN}", "my-name", maxLength=253)
]
LabelKey = Annotated[
    str, AfterValidator(names.label_key), _schema(names.LABEL_KEY_PATTERN, "team", **_also(names.LABEL_KEY_LENGTHS))
]
LabelValue = Annotated[str, AfterValidator(names.label_value), _schema(names.LABEL_VALUE_PATTERN, "kube-dns")]
Cidr = Annotated[str, AfterValidator(names.cidr)]
Image = Annotated[str, AfterValidator(pinned_image), _schema(IMAGE_PATTERN, "name:1.0", **_also(IMAGE_LENGTHS))]
OptionalImage = Annotated[
    str,
    AfterValidator(_optional(pinned_image)),
    _schema(f"^$|{IMAGE_PATTERN}", "name:1.0", **_also(IMAGE_LENGTHS)),
]
WatchedNamespaces = Annotated[
    str,
    AfterValidator(_optional(names.watched_namespaces)),
    _schema(r"^$|^selector:[^=,]+=[^=,]*$|^[-a-z0-9]+(,[-a-z0-9]+)*$", "agent-jobs,batch"),
]
Identifier = Annotated[str, AfterValidator(_identifier), _schema(r"^$|^\S(.{0,126}\S)?$", "agent-007")]
"""An id at the payment service: any text on one line without blanks at its ends; no prefix is expected."""
Prose = Annotated[
    str,
    AfterValidator(_prose),
    WithJsonSchema({"type": "string", "maxLength": LONGEST_PROSE, "pattern": r"^[^\x00]*$"}),
]
"""Text of an environment variable, which cannot hold NUL."""
SecretKey = Annotated[str, AfterValidator(names.data_key), _schema(names.DATA_KEY_PATTERN, "api-key")]
EnvName = Annotated[str, AfterValidator(names.variable), _schema(names.VARIABLE_PATTERN, "MY_NAME")]
PodTemplate = Annotated[dict[str, Any], AfterValidator(_template), _kubernetes("PodTemplateSpec")]
"""A part of a pod template in Kubernetes' own words; `components/manifests/overrides.py` checks what comes of it."""
JobTemplate = Annotated[dict[str, Any], AfterValidator(_template), _kubernetes("JobTemplateSpec")]
"""The same of a Job, but for its pod template."""
TcpPort = Annotated[int, Field(ge=1, le=65535)]
ManifestPath = Annotated[str, AfterValidator(_manifest_path), _schema(r"^[^/].*\.ya?ml$", "manifests/rules.yaml")]
