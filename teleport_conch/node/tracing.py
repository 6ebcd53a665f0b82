"""What the programs of a session do, as the kernel has recorded it, for the audit log."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping

from attrs import define, field

from teleport_conch.ssh.monitor.traced import Traced
from teleport_conch.ssh.tracing import layout
from teleport_conch.ssh.tracing.records import (
    Command,
    Commands,
    Connected,
    Opened,
    read_connected,
    read_head,
    read_opened,
)
from teleport_conch.wire import WireError

TOO_FAST = "There was more than is recorded, or more than could be read."
NOT_FOLLOWED = "There were too many processes, and what these do is not recorded."
GARBLED = "Records could not be read."

_UNSEEN = ("command", "disk", "network", "process")
_FLAGS = {
    os.O_APPEND: "append",
    os.O_CREAT: "create",
    os.O_TRUNC: "truncate",
    os.O_EXCL: "exclusive",
}
_WAYS = {os.O_RDONLY: ["read"], os.O_WRONLY: ["write"], os.O_RDWR: ["read", "write"]}


def kinds_of(wanted: Collection[str]) -> int:
    """The mask of what the option ``enhanced_recording`` of somebody's roles lists."""
    return sum(layout.NAMES[name] for name in wanted)


@define
class Tracing:
    """Tells of one session.

    :param facts: what every event of the session says.
    """

    emit: Callable[..., object]
    facts: Mapping[str, object]
    _commands: Commands = field(init=False, factory=Commands)

    def traced(self, traced: Traced) -> None:
        """Some records. What cannot be read is counted, and does no harm."""
        garbled = 0
        for record in traced.records:
            try:
                self._tell(record)
            except WireError:
                garbled += 1
        for kind, count in zip(_UNSEEN, traced.unseen, strict=True):
            self._tell_unseen(kind, count, NOT_FOLLOWED if kind == _UNSEEN[-1] else TOO_FAST)
        self._tell_unseen(_UNSEEN[layout.KINDS.index(traced.kind)], garbled, GARBLED)

    def _tell(self, record: bytes) -> None:
        head = read_head(record)
        if head.sort == layout.OPENED:
            self.emit("session.disk", **_opened(read_opened(head, record)), **self.facts)
        elif head.sort == layout.CONNECTED:
            self.emit("session.network", **_connected(read_connected(head, record)), **self.facts)
        else:
            command = self._commands.read(head, record)
            if command is not None:
                self.emit("session.command", **_command(command), **self.facts)

    def _tell_unseen(self, kind: str, count: int, reason: str) -> None:
        if count:
            self.emit("session.unseen", kind=kind, count=count, reason=reason, **self.facts)


def _command(done: Command) -> dict[str, object]:
    facts = done._asdict()
    reasons = [
        sentence
        for is_so, sentence in (
            (done.argv is None, "Its arguments were not seen."),
            (facts.pop("more"), f"It had more than {layout.MAX_ARGUMENTS} arguments."),
            (facts.pop("unread"), "The path or an argument could not be read, and is empty."),
        )
        if is_so
    ]
    return {**facts, "argv": done.argv or (), "reason": " ".join(reasons) or None}


def _opened(done: Opened) -> dict[str, object]:
    set_ones = [name for flag, name in _FLAGS.items() if done.flags & flag]
    return {**done._asdict(), "flags": ",".join([*_WAYS.get(done.flags & os.O_ACCMODE, []), *set_ones])}


def _connected(done: Connected) -> dict[str, object]:
    return done._asdict()
