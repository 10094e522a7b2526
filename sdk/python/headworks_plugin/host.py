"""The gateway's log and counters."""

from __future__ import annotations


def log(level: str, message: object) -> None:
    """Writes a line to the gateway's log: `level` is debug, info, warn or error. `print` writes there too. Never write
    personal data or secrets."""
    from . import _run

    _run.log(level, str(message))


def count(counter: str, amount: int = 1) -> None:
    """Adds to a counter that the gateway exports under the plugin's name: `a-z 0-9 _`, at most 64 characters."""
    from . import _run

    _run.count(counter, amount)
