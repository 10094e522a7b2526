"""Picks the example that the configuration names."""

from typing import Any

from drop_bots import DropBots
from headworks_plugin import Event, plugin
from split_order import SplitOrder
from tidy_order import TidyOrder

EXAMPLES: dict[str, type] = {"drop-bots": DropBots, "split-order": SplitOrder, "tidy-order": TidyOrder}


@plugin
class Examples:
    def __init__(self, example: str, **config: Any) -> None:
        self.example = EXAMPLES[example](**config)

    def transform(self, event: Event) -> Any:
        return self.example.transform(event)
