"""How the gateway calls a plugin: the app that `componentize-py` builds."""

from __future__ import annotations

import dataclasses
import json
import sys
from types import TracebackType
from typing import Any

import wit_world
from componentize_py_types import Err
from wit_world.imports import host as _host
from wit_world.imports import tables as _tables
from wit_world.imports import types

from . import _document, _guard

_document._types = types
_guard.forbid()

import plugin as _module  # noqa: E402, F401
import headworks_plugin  # noqa: E402

from ._document import Document, Rejected  # noqa: E402
from ._event import Event, Output  # noqa: E402

if headworks_plugin._registered is None:
    raise TypeError("plugin.py has no class with the decorator @plugin")

_LEVELS = {
    "debug": _host.Level.DEBUG,
    "info": _host.Level.INFO,
    "warn": _host.Level.WARN,
    "error": _host.Level.ERROR,
}


def log(level: str, message: str) -> None:
    if level not in _LEVELS:
        raise ValueError(f"level is debug, info, warn or error, not {level!r}")
    _host.log(_LEVELS[level], message)


def count(counter: str, amount: int) -> None:
    if not 0 <= amount < 2**64:
        raise ValueError(f"a counter grows by a whole number, not by {amount}")
    _host.count(counter, amount)


def lookup(table: str, key: str) -> Document | None:
    row = _tables.lookup(table, key)
    return None if row is None else Document(row)


class WitWorld(wit_world.WitWorld):  # type: ignore[misc]
    _plugin: Any = None

    def configure(self, config: str) -> None:
        try:
            _guard.seed("")
            type(self)._plugin = _configured(headworks_plugin._registered, json.loads(config))
        except Exception as error:
            raise Err(_refusal(error)) from None
        finally:
            _end()

    def transform(self, event: types.Event) -> list[types.Output]:
        try:
            _guard.seed(event.id)
            given = type(self)._plugin.transform(
                Event(
                    event.id,
                    event.source,
                    event.type,
                    event.subject,
                    event.time,
                    event.app_version,
                    event.partner,
                    event.schema,
                    Document(event.data),
                )
            )
            if given is None:
                raise TypeError("`transform` gave None: return [] to drop the event on purpose")
            return [_output(output) for output in (given if isinstance(given, list) else [given])]
        except Rejected as error:
            raise Err(types.Failure_Rejected(str(error))) from None
        except Exception as error:
            words = _describe(error)
            _host.log(_host.Level.ERROR, "\n".join([words, *_places(error.__traceback__)]))
            raise Err(types.Failure_Broken(words)) from None
        finally:
            _end()


def _end() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    _document.drop_documents()


def _configured(cls: Any, config: Any) -> Any:
    if not isinstance(config, dict):
        raise ValueError("the configuration is no object")
    if dataclasses.is_dataclass(cls):
        fields = {field.name: field for field in dataclasses.fields(cls) if field.init}
        for name in config:
            if name not in fields:
                raise ValueError(f"unknown member {name!r}: there are {', '.join(fields) or 'none'}")
        for name, field in fields.items():
            required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
            if name not in config and required:
                raise ValueError(f"member {name!r} is missing")
            _check_member(name, field.type, config)
    return cls(**config)


_SCALARS = {"str": str, "int": int, "float": float, "bool": bool, "list": list, "dict": dict}


def _check_member(name: str, annotation: Any, config: dict[str, Any]) -> None:
    """Checks what is annotated as a plain type; the rest is the class's own affair."""
    wanted = _SCALARS.get(annotation) if isinstance(annotation, str) else annotation
    if name not in config or not isinstance(wanted, type) or wanted not in _SCALARS.values():
        return
    found = type(config[name])
    if wanted is float and found is int:
        config[name] = float(config[name])
    elif found is not wanted:
        raise ValueError(f"member {name!r} is {_document._NAMES[found]}, not {_document._NAMES[wanted]}")


def _refusal(error: Exception) -> str:
    """A ValueError speaks for itself."""
    text = str(error)
    return text if isinstance(error, ValueError) and text else _describe(error)


def _describe(error: BaseException) -> str:
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _places(trace: TracebackType | None) -> list[str]:
    """The innermost frames. `traceback` would look for the sources, and there are no files."""
    places = []
    while trace is not None:
        code = trace.tb_frame.f_code
        name = code.co_filename.rsplit("/", 1)[-1]
        if "headworks_plugin" not in code.co_filename:
            places.append(f"  {name}:{trace.tb_lineno} in {code.co_name}")
        trace = trace.tb_next
    return places[-8:]


def _output(given: Any) -> types.Output:
    output = given if isinstance(given, Output) else Output(given)
    headers = output.headers.items() if hasattr(output.headers, "items") else output.headers
    body = output.body
    if isinstance(body, (bytes, bytearray)):
        written: Any = types.Body_Bytes(bytes(body))
    else:
        document = body if isinstance(body, Document) else Document.from_value(body)
        written = types.Body_Document(document._release())
    return types.Output(
        _text("destination", output.destination),
        _text("topic", output.topic),
        _text("key", output.key),
        [(_text("header", name), _text("header", value)) for name, value in headers],
        written,
    )


def _text(name: str, value: Any) -> Any:
    if value is not None and not isinstance(value, str):
        raise TypeError(f"a record's {name} is text, not {type(value).__name__}")
    return value


_guard.seal(log)
