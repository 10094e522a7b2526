"""Lookup tables: rows by key that the gateway's operators put."""

from __future__ import annotations

from ._document import Document


def lookup(table: str, key: str | int) -> Document | None:
    """The row of a table under a key, as a document that is read, changed and given away like the event's data; None
    where there is no such row. Only in `transform`. Where the gateway has no such table at all, the call ends here: the
    event waits in quarantine until the table is there."""
    from . import _run

    return _run.lookup(table, str(key))
