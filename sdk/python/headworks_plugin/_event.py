from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ._document import Document


@dataclass(frozen=True)
class Event:
    """One event, checked by the gateway against the schema of its type and app version. The attributes are CloudEvents
    1.0's."""

    id: str
    source: str
    type: str
    subject: str | None
    #: RFC 3339, as sent, or the time of receipt where the sender gave none. A plugin's only clock.
    time: str
    #: The version of the app that sent the event, as sent.
    app_version: str | None
    partner: str
    #: `TYPE@SINCE` of the schema that the data was checked against.
    schema: str
    data: Document


@dataclass
class Output:
    """One record to deliver. What is absent is taken from the route. A body of `bytes` need be no JSON."""

    body: Document | bytes | Any
    #: The name of one of the route's destinations; absent: all of them.
    destination: str | None = None
    #: A Kafka topic or a Kinesis stream.
    topic: str | None = None
    #: Records with the same key keep their order.
    key: str | None = None
    headers: Mapping[str, str] | Iterable[tuple[str, str]] = field(default_factory=tuple)
