"""What a client does with files over SFTP, for the audit log."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

from teleport_conch.ssh.processes.exit_status import ExitStatus
from teleport_conch.ssh.session.process_session import SessionObserver
from teleport_conch.ssh.sftp import messages
from teleport_conch.ssh.sftp.codec import Attributes
from teleport_conch.ssh.sftp.observer import Observer, Operation

PERIOD_S = 10.0
EVENTS_A_PERIOD = 500
"""Operations of one session that are told one by one in a period; the others of the period are counted."""

_FLAGS = {
    messages.FLAG_READ: "read",
    messages.FLAG_WRITE: "write",
    messages.FLAG_APPEND: "append",
    messages.FLAG_CREATE: "create",
    messages.FLAG_TRUNCATE: "truncate",
    messages.FLAG_EXCLUSIVE: "exclusive",
}


@define(slots=False)
class FileWatching(SessionObserver):
    """The :class:`~teleport_conch.ssh.session.process_session.SessionObserver` of sessions that are SFTP.

    :param facts: what every event of the session says.
    """

    clock: IReactorTime
    emit: Callable[..., object]
    facts: Mapping[str, object]
    _observer: Observer = field(init=False)
    _period_began: float = field(init=False, default=0.0)
    _told: int = field(init=False, default=0)
    _count: int = field(init=False, default=0)
    _read: int = field(init=False, default=0)
    _written: int = field(init=False, default=0)

    def __attrs_post_init__(self) -> None:
        self._observer = Observer(self._operation, self._blinded)

    def output(self, data: bytes) -> None:
        self._observer.from_server(data)

    def error(self, data: bytes) -> None:
        """Complaints of the server are no part of the protocol."""

    def input(self, data: bytes) -> None:
        self._observer.from_client(data)

    def ended(self, status: ExitStatus | None) -> None:
        self._observer.ended()
        self._tell_more()

    def _operation(self, done: Operation) -> None:
        now = self.clock.seconds()
        if not 0.0 <= now - self._period_began < PERIOD_S:
            self._tell_more()
            self._period_began, self._told = now, 0
        if self._told < EVENTS_A_PERIOD:
            self._told += 1
            self.emit("sftp", success=done.status == messages.OK, **self.facts, **told(done))
        else:
            self._count += 1
            self._read += done.read
            self._written += done.written

    def _tell_more(self) -> None:
        if self._count:
            self.emit("sftp.more", count=self._count, tx=self._read, rx=self._written, **self.facts)
        self._count = self._read = self._written = 0

    def _blinded(self, reason: str) -> None:
        self.emit("sftp.unseen", reason=reason, **self.facts)


def told(done: Operation) -> dict[str, object]:
    """The fields of an event that are the operation's own. What is no text in a name is there as an escape."""
    facts: dict[str, object] = {"action": done.action, "path": os.fsdecode(done.path)}
    if done.target:
        facts["target"] = os.fsdecode(done.target)
    if done.action in ("download", "upload"):
        facts |= {"tx": done.read, "rx": done.written, "flags": ",".join(_flag_names(done.flags))}
    if done.attributes is not None:
        facts["attributes"] = _attributes(done.attributes)
    if done.status != messages.OK:
        facts["error"] = _ENDINGS.get(done.status, "It failed.")
    return facts


_ENDINGS = {
    None: "The session ended before it was done.",
    messages.NO_SUCH_FILE: "There is no such file.",
    messages.PERMISSION_DENIED: "The account may not do that.",
    messages.BAD_MESSAGE: "The server did not accept the request.",
    messages.OP_UNSUPPORTED: "The server cannot do that.",
}


def _flag_names(flags: int) -> list[str]:
    return [name for flag, name in _FLAGS.items() if flags & flag]


def _attributes(wanted: Attributes) -> dict[str, str]:
    said = {}
    if wanted.size is not None:
        said["size"] = str(wanted.size)
    if wanted.permissions is not None:
        said["mode"] = f"{wanted.permissions & 0o7777:04o}"
    if wanted.uid is not None:
        said["owner"] = f"{wanted.uid}:{wanted.gid}"
    if wanted.mtime is not None:
        said["mtime"] = str(wanted.mtime)
    return said
