from __future__ import annotations

import json
import math
from decimal import Decimal
from typing import Any

#: A list, an object, or a number of its own size.
_INTEGER_MIN, _INTEGER_MAX = -(2**63), 2**63 - 1


class Rejected(Exception):
    """The event cannot be transformed: it goes to quarantine with this text."""


class DataError(Rejected):
    """What stands at a pointer is not of the type that was asked for, or nothing is there."""

    def __init__(self, pointer: str, reason: str) -> None:
        super().__init__(f"{pointer}: {reason}")
        self.pointer = pointer


#: The documents of the running call.
_live: list[Document] = []
#: The contract's own types: there is none but in the gateway.
_types: Any = None

_NAMES = {
    bool: "true or false",
    int: "an integer",
    float: "a number",
    Decimal: "a number",
    str: "text",
    list: "an array",
    dict: "an object",
    type(None): "null",
}
_NOTHING: Any = object()


class Document:
    """A JSON document that the gateway has parsed. Paths are JSON Pointers (RFC 6901): `/items/0/price`; `""` is the
    whole document. Changes are gathered and made together when the document is read next or given away. What is not
    touched keeps its bytes.

    Where a change cannot be made, none of those gathered with it is, and from then on every use of the document raises
    the same ValueError: it cannot be read, copied or given away."""

    __slots__ = ("_edits", "_handle", "_refused")

    def __init__(self, handle: Any) -> None:
        self._handle = handle
        self._edits: list[Any] = []
        #: Why earlier changes could not be made. It stays: without them the document is not what the plugin takes it for.
        self._refused: str | None = None
        _live.append(self)

    @classmethod
    def from_json(cls, text: str) -> Document:
        """A new document from JSON text. Raises ValueError where the text is none."""
        return cls(_call(_in_gateway().Document.from_json, text))

    @classmethod
    def from_value(cls, value: Any) -> Document:
        """A new document from anything that `json` writes."""
        return cls.from_json(_dumps(value))

    def get(self, pointer: str, default: Any = None) -> Any:
        """The value at a pointer; `default` where nothing is there. Integers are exact, whatever their size; a number
        that no float holds exactly is a Decimal."""
        value = self._flushed().get(pointer)
        return default if value is None else _from_host(value)

    def __getitem__(self, pointer: str) -> Any:
        """The value at a pointer. Where nothing is there, a DataError rejects the event."""
        value = self.get(pointer, _NOTHING)
        if value is _NOTHING:
            raise DataError(pointer, "nothing is there")
        return value

    def get_many(self, *fields: str | tuple[str, type] | tuple[str, type, Any]) -> list[Any]:
        """Many values in one call of the gateway. A field is a pointer (None where nothing is there), a pointer with
        the type that must be there, or these with what to take where nothing, or null, is there. A DataError, which
        rejects the event, says what is missing or of another type. An integer is a float too."""
        specifications = [(field,) if isinstance(field, str) else field for field in fields]
        values = self._flushed().get_all([specification[0] for specification in specifications])
        return [
            _check(specification, None if value is None else _from_host(value), value is not None)
            for specification, value in zip(specifications, values, strict=True)
        ]

    def set(self, pointer: str, value: Any) -> Document:
        """Sets a value; missing parents are made, and `-` as the last token appends to an array."""
        self._edits.append(_in_gateway().Edit_Set((pointer, _to_host(pointer, value))))
        return self

    def remove(self, pointer: str) -> Document:
        """Removes a value, where one is there."""
        self._edits.append(_in_gateway().Edit_Remove(pointer))
        return self

    def rename(self, source: str, target: str) -> Document:
        """Moves a value, where one is there."""
        self._edits.append(_in_gateway().Edit_Move((source, target)))
        return self

    def copy(self) -> Document:
        """A copy that is changed apart from this one."""
        return Document(self._flushed().copy())

    def to_json(self) -> str:
        """The document as JSON text."""
        text: str = self._flushed().to_json()
        return text

    def _flushed(self) -> Any:
        if self._handle is None:
            raise RuntimeError("the document was given away, or belongs to an earlier event")
        if self._refused is None and self._edits:
            edits, self._edits = self._edits, []
            try:
                _call(self._handle.apply, edits)
            except ValueError as error:
                self._refused = str(error)
        if self._refused is not None:
            raise ValueError(self._refused)
        return self._handle

    def _release(self) -> Any:
        """The handle, with all changes made; it is then no longer this call's to drop."""
        handle = self._flushed()
        self._handle = None
        return handle


def drop_documents() -> None:
    for document in _live:
        handle, document._handle = document._handle, None
        if handle is not None:
            handle.__exit__(None, None, None)
    _live.clear()


def _in_gateway() -> Any:
    if _types is None:
        raise RuntimeError("documents exist only in the gateway: run `headworks plugin test --local`")
    return _types


def _call(function: Any, argument: Any) -> Any:
    """Calls what answers a `result<_, string>`."""
    try:
        return function(argument)
    except Exception as error:
        raise ValueError(str(getattr(error, "value", error))) from None


def _check(specification: tuple[Any, ...], value: Any, there: bool) -> Any:
    pointer, *rest = specification
    if not rest:
        return value
    wanted = rest[0]
    if value is None:
        if len(rest) > 1:
            return rest[1]
        raise DataError(pointer, f"is null, not {_NAMES.get(wanted, wanted)}" if there else "nothing is there")
    if wanted is float and type(value) is int:
        return float(value)
    # Neither is true an integer, nor is a subclass ever here.
    if type(value) is not wanted:
        raise DataError(pointer, f"is {_NAMES.get(type(value))}, not {_NAMES.get(wanted, wanted)}")
    return value


def _from_host(value: Any) -> Any:
    kind = type(value)
    if kind is _types.Value_Null:
        return None
    if kind is not _types.Value_Json:
        return value.value
    text = value.value
    return json.loads(text, parse_float=Decimal) if text[0] in "-0123456789" else json.loads(text)


def _to_host(pointer: str, value: Any) -> Any:
    types = _in_gateway()
    if value is None:
        return types.Value_Null()
    if isinstance(value, bool):
        return types.Value_Boolean(value)
    if isinstance(value, str):
        return types.Value_Text(value)
    if isinstance(value, int):
        return types.Value_Integer(value) if _INTEGER_MIN <= value <= _INTEGER_MAX else types.Value_Json(str(value))
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{pointer}: {value} is no JSON value")
        return types.Value_Number(value)
    if isinstance(value, Decimal):
        if not value.is_finite():
            raise ValueError(f"{pointer}: {value} is no JSON value")
        return types.Value_Json(str(value))
    try:
        return types.Value_Json(_dumps(value))
    except (TypeError, ValueError) as error:
        raise type(error)(f"{pointer}: {error}") from None


def _dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
