"""What bots look at is nobody's interest: dropped and counted. All else passes as it was sent."""

from dataclasses import dataclass

from headworks_plugin import Event, Output, host


@dataclass
class DropBots:
    #: Words of their user agents, in lower case.
    words: list[str]

    def __post_init__(self) -> None:
        if not self.words:
            raise ValueError("words is empty: nothing would be dropped")

    def transform(self, event: Event) -> list[Output]:
        (agent,) = event.data.get_many(("/user_agent", str, ""))
        if any(word in agent.lower() for word in self.words):
            host.count("bots")
            return []
        return [Output(event.data)]
