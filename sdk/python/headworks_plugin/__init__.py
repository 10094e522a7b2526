"""Write transform plugins for the Headworks event gateway.

    from dataclasses import dataclass

    from headworks_plugin import Event, Output, Rejected, plugin


    @plugin
    @dataclass
    class OrderTotal:
        currency: str

        def transform(self, event: Event) -> list[Output]:
            price, quantity = event.data.get_many(("/price", float), ("/quantity", int, 1))
            event.data.rename("/order_no", "/order/id")
            event.data.set("/order/total", price * quantity)
            event.data.set("/order/currency", self.currency)
            return [Output(event.data)]

The file is `plugin.py`; `headworks plugin build` makes the component.
"""

from __future__ import annotations

from typing import Any, Protocol, TypeVar

from . import host, tables
from ._document import DataError, Document, Rejected
from ._event import Event, Output

__version__ = "0.1.0"

__all__ = ["DataError", "Document", "Event", "Output", "Plugin", "Rejected", "host", "plugin", "tables"]


class Plugin(Protocol):
    """What a plugin's class is like. Its instance is made once, from the route's configuration: the members are given
    by keyword, so that a dataclass names what it takes. An exception refuses the configuration."""

    def transform(self, event: Event) -> Any:
        """Makes records of an event: an `Output`, a `Document`, anything that is JSON, or a list of these. An empty
        list drops the event on purpose. `Rejected` puts it into quarantine with its text; any other exception says
        that the plugin is at fault."""


_Class = TypeVar("_Class", bound=type)
_registered: type | None = None


def plugin(cls: _Class) -> _Class:
    """Makes a class known to the gateway: a component is one plugin."""
    global _registered
    if _registered is not None:
        raise TypeError(f"@plugin stands at {_registered.__name__} and at {cls.__name__}: a component is one plugin")
    if not callable(getattr(cls, "transform", None)):
        raise TypeError(f"{cls.__name__} has no method `transform(self, event)`")
    _registered = cls
    return cls
