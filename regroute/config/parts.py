"""How parts of the configuration check themselves and tell their schema.

pydantic does the work; what is here lets one run find every fault of a part, allows short forms,
and keeps the published schema as strict as the check.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Self, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ModelWrapValidatorHandler,
    ValidationError,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, ErrorDetails, InitErrorDetails, PydanticCustomError
from pydantic_core import core_schema as core

from .faults import suggest
from .scalars import Scalar, describe

T = TypeVar("T")
Details = tuple[tuple[str | int, ...], str]

_NOTHING = "nothing is given: write a value, or leave the key out"


@dataclass(frozen=True)
class _Entries:
    """A list with at least one entry, which may stand `alone` without its brackets; or with none,
    if it `may_be_empty`.
    """

    alone: bool
    may_be_empty: bool = False

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core.no_info_before_validator_function(self._open, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        many = handler(schema) if self.may_be_empty else {**handler(schema), "minItems": 1}
        return {"anyOf": [many["items"], many]} if self.alone else many

    def _open(self, value: object) -> object:
        if value == [] and not self.may_be_empty:
            raise ValueError("expected at least one entry")
        return (value,) if self.alone and isinstance(value, str) else value


class Given:
    """A part that may be left out, but not be given as nothing."""

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        part: JsonSchemaValue = handler(schema)["anyOf"][0]
        return part


class ByName:
    """A mapping whose keys are names and nothing else."""

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {**handler(schema), "additionalProperties": False}


@dataclass(frozen=True)
class ShortForm:
    """A mapping that may be written as the value of its main key alone."""

    key: str
    scalar: Scalar

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core.no_info_before_validator_function(
            lambda value: {self.key: value} if isinstance(value, str) else value, handler(source)
        )

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"anyOf": [dict(self.scalar.schema), handler(schema)]}


Many = Annotated[tuple[T, ...], _Entries(alone=True)]
Some = Annotated[tuple[T, ...], _Entries(alone=False)]
ManyOrNone = Annotated[tuple[T, ...], _Entries(alone=True, may_be_empty=True)]


class Part(BaseModel):
    """A mapping of the configuration, which reports all of its faults at once."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    @model_validator(mode="wrap")
    @classmethod
    def _gather(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Add the faults between keys to those of each key, which pydantic finds by itself."""
        found = [*cls._key_faults(value), *cls.faults(value)] if isinstance(value, dict) else []
        try:
            part = handler(value)
        except ValidationError as error:
            found += [_translate(details) for details in error.errors()]
        if found:
            raise ValidationError.from_exception_data(cls.__name__, list(_init_details(found)))
        return part

    @classmethod
    def faults(cls, value: dict[str, Any]) -> Iterator[Details]:
        """Faults that lie between keys: where, and what is wrong."""
        yield from ()

    @classmethod
    def _key_faults(cls, value: dict[str, Any]) -> Iterator[Details]:
        known = [field.alias or name for name, field in cls.model_fields.items()]
        for key, given in value.items():
            if key not in known:
                yield (key,), f"unknown key '{key}'{suggest(key, known)}"
            elif given is None:
                yield (key,), _NOTHING


def _translate(details: ErrorDetails) -> Details:
    location, value = details["loc"], details["input"]
    if details["type"] == "fault":
        return location, details["msg"]
    if value is None:
        return location, _NOTHING
    match details["type"]:
        case "value_error":
            return location, str(details["ctx"]["error"])
        case "missing":
            return location, f"missing key '{location[-1]}'"
        case "tuple_type" | "list_type":
            return location, f"expected a list, not {describe(value)}"
        case "model_type" | "dict_type" | "model_attributes_type":
            return location, f"expected a mapping, not {describe(value)}"
        case "extra_forbidden":
            # Said by `_key_faults` already, with what was meant.
            return location, ""
    return location, details["msg"]


def _init_details(found: list[Details]) -> Iterator[InitErrorDetails]:
    for location, message in found:
        if message:
            kind = PydanticCustomError("fault", "{message}", {"message": message})
            yield InitErrorDetails(type=kind, loc=location, input=None)
