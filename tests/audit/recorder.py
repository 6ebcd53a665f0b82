"""What takes the place of a trail: events as they would be stored; one that the catalogue lacks fails the test."""

from __future__ import annotations

from attrs import define, field

from teleport_conch.audit.event import Event, build

UID = "00000000-0000-4000-8000-000000000000"
HEADING = ("event", "code", "time", "uid", "ei", "success")


@define
class EventRecorder:
    """Takes down events; :meth:`emit` is what emitters are given."""

    events: list[Event] = field(factory=list)

    def emit(self, name: str, /, *, success: bool = True, **fields: object) -> None:
        """As a trail does."""
        self.events.append(build(name, success, fields, 0.0, UID))

    def take(self) -> list[tuple[object, object, dict[str, object]]]:
        """Name, code and fields of each event since this was asked last."""
        events, self.events = self.events, []
        return [
            (event["event"], event["code"], {key: value for key, value in event.items() if key not in HEADING})
            for event in events
        ]

    def names(self) -> list[object]:
        return [event["event"] for event in self.events]
