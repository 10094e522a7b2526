"""Eight reads and six edits, or none."""

from dataclasses import dataclass
from typing import Any

from headworks_plugin import Event, plugin


@plugin
@dataclass
class Edits:
    edits: bool = False

    def transform(self, event: Event) -> Any:
        data = event.data
        if not self.edits:
            return data
        user, platform, url, version, number, screen, network, load_ms = data.get_many(
            ("/user_id", str),
            ("/platform", str),
            ("/url", str),
            ("/device/os_version", str),
            ("/session/number", int),
            ("/screen/name", str),
            ("/network/type", str),
            ("/load_ms", int),
        )
        return (
            data.rename("/occurred_at", "/viewed_at")
            .rename("/anonymous_id", "/visitor_id")
            .remove("/consent")
            .set("/page", f"{screen} {url}")
            .set("/os", f"{platform} {version} {network}")
            .set("/is_slow", number > 1 and load_ms > 400 and user != "")
        )
