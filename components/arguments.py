"""The settings' sections as argument types that every Pulumi language can use.

Pulumi infers a component's schema from `TypedDict`s of plain types; pydantic models are not among them. The models
remain the one source: the types here are derived from them, their keys documented in the type's description.
"""

from decimal import Decimal
from types import GenericAlias, NoneType
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypedDict, get_args, get_origin

from pydantic import BaseModel

from components.settings import Settings


def arguments(model: type[BaseModel]) -> Any:
    """A `TypedDict` of the model's keys, all optional but those that the model requires."""
    keys = {info.alias or name: _plain(info.annotation) for name, info in model.model_fields.items()}
    # The functional form is the only one for a type that is made from data.
    derived = TypedDict(f"{model.__name__}Args", keys, total=False)  # ty: ignore[mismatched-type-name, invalid-argument-type]
    prose = [f"- `{info.alias}`: {info.description or ''}" for info in model.model_fields.values()]
    derived.__doc__ = "\n".join([model.__doc__ or "", "", *prose])
    return derived


def _plain(annotation: Any) -> Any:
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _plain(inner[0])
    if origin is Literal:
        return type(inner[0])
    if origin is tuple:
        return GenericAlias(list, (_plain(inner[0]),))
    if origin is dict:
        return GenericAlias(dict, (str, _plain(inner[1])))
    if NoneType in inner:
        return _plain(next(kind for kind in inner if kind is not NoneType))
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return arguments(annotation)
    return str if annotation is Decimal else annotation


if TYPE_CHECKING:
    SettingsArgs = Settings | dict[str, Any]
else:
    SettingsArgs = arguments(Settings)
