"""Imported before the plugin. What would end in a trap without a word, or make a result depend on something else than
event, component and configuration, raises with a sentence instead."""

from __future__ import annotations

# What the standard library imports only when it is needed: later nothing can be imported.
import _strptime  # type: ignore[import-not-found]  # noqa: F401
import atexit  # noqa: F401
import builtins
import datetime
import encodings.ascii  # noqa: F401
import encodings.cp949  # noqa: F401
import encodings.cp1252  # noqa: F401
import encodings.euc_kr  # noqa: F401
import encodings.idna  # noqa: F401
import encodings.latin_1  # noqa: F401
import encodings.shift_jis  # noqa: F401
import encodings.utf_8_sig  # noqa: F401
import encodings.utf_16  # noqa: F401
import encodings.utf_16_le  # noqa: F401
import encodings.utf_32  # noqa: F401
import hashlib  # noqa: F401
import io
import linecache  # noqa: F401
import os
import random
import sys
import threading  # noqa: F401
import time
import traceback  # noqa: F401
from collections.abc import Callable
from typing import Any, NoReturn

CLOCK = "a plugin has no clock: use event.time"
RANDOMNESS = "a plugin has no randomness: `random` is seeded by the event's id"
FILES = "a plugin has no files: read them at the top of plugin.py, which runs when the plugin is built"


def _refuse(reason: str) -> Callable[..., NoReturn]:
    def refused(*_arguments: Any, **_named: Any) -> NoReturn:
        raise RuntimeError(reason)

    return refused


def _needs_argument(function: Callable[..., Any], count: int) -> Callable[..., Any]:
    """`time.gmtime(0)` reads no clock, `time.gmtime()` does."""

    def guarded(*arguments: Any) -> Any:
        if len(arguments) < count or arguments[count - 1] is None:
            raise RuntimeError(CLOCK)
        return function(*arguments)

    return guarded


class _SameInstances(type):
    """What the C code makes is of the class that was there before."""

    def __instancecheck__(cls, instance: object) -> bool:
        return cls.__base__ is not None and isinstance(instance, cls.__base__)


class _Datetime(datetime.datetime, metaclass=_SameInstances):
    now = utcnow = today = classmethod(_refuse(CLOCK))


class _Date(datetime.date, metaclass=_SameInstances):
    today = classmethod(_refuse(CLOCK))


class _Random(random.Random):
    def __new__(cls, seed: Any = None) -> _Random:
        if seed is None:
            raise RuntimeError(RANDOMNESS)
        return super().__new__(cls, seed)  # type: ignore[call-arg]

    def seed(self, a: Any = None, version: int = 2) -> None:
        if a is None:
            raise RuntimeError(RANDOMNESS)
        super().seed(a, version)


_seed = random.seed


def forbid() -> None:
    """Before the plugin is imported: clocks and randomness."""
    for name in (
        "time time_ns monotonic monotonic_ns perf_counter perf_counter_ns process_time process_time_ns thread_time "
        "thread_time_ns sleep clock_gettime clock_gettime_ns"
    ).split():
        setattr(time, name, _refuse(CLOCK))
    for name, count in {"gmtime": 1, "localtime": 1, "ctime": 1, "asctime": 1, "strftime": 2}.items():
        setattr(time, name, _needs_argument(getattr(time, name), count))
    for cls, name in ((_Datetime, "datetime"), (_Date, "date")):
        cls.__name__ = cls.__qualname__ = name
        cls.__module__ = "datetime"
        setattr(datetime, name, cls)
    os.urandom = random._urandom = _refuse(RANDOMNESS)  # type: ignore[attr-defined]
    random.Random = _Random  # type: ignore[misc, assignment]
    random.seed = _refuse("`random` is seeded by the event's id: use random.Random(seed) for a sequence of your own")


def seal(write: Callable[[str, str], None]) -> None:
    """After the plugin was imported: files, output, and imports."""
    # Imports what it needs at its first call.
    _seed("")
    builtins.open = io.open = _refuse(FILES)
    for name in "open stat lstat listdir scandir mkdir remove rename getcwd".split():
        if hasattr(os, name):
            setattr(os, name, _refuse(FILES))
    sys.stdout = _LogWriter(write, "info")
    sys.stderr = _LogWriter(write, "warn")
    sys.path.clear()
    sys.meta_path[:] = [_NoImport]


def seed(text: str) -> None:
    """The same event gives the same numbers, whatever the instance did before."""
    _seed(text)


class _NoImport:
    @staticmethod
    def find_spec(name: str, _path: object = None, _target: object = None) -> NoReturn:
        raise ImportError(
            f"{name} is imported while the plugin runs: import it at the top of plugin.py, which runs when the plugin "
            f"is built"
        )


class _LogWriter(io.TextIOBase):
    """Lines of output, as lines of the gateway's log."""

    def __init__(self, write: Callable[[str, str], None], level: str) -> None:
        self._write = write
        self._level = level
        self._line = ""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            self._write(self._level, line)
        return len(text)

    def flush(self) -> None:
        if self._line:
            line, self._line = self._line, ""
            self._write(self._level, line)
