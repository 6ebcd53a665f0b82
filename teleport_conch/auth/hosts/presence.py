"""Which hosts are there, counted from their beats: in memory, on a monotonic clock, at the same cost however many.

A host is *online*; *late* once it missed a beat; *offline* once it missed three, or said goodbye; and *unknown* for the
first window after it joined or auth started, in which nothing can be said of it. Hosts of one state lie in the order in
which they are due for the next one, so a sweep looks only at those that are.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping

from attrs import define, field, frozen

from teleport_conch.auth.clocks import Clocks
from teleport_conch.auth.limits import LATE_AFTER_BEATS, OFFLINE_AFTER_BEATS, SUPERSEDED_KEPT
from teleport_conch.errors import HostDuplicate
from teleport_conch.resources.server import Presence, State


@frozen
class HostKey:
    """One service of one host. ``kind`` is one of :data:`teleport_conch.resources.server.KINDS`."""

    kind: str
    uuid: str


@define(eq=False)
class _Host:
    state: State
    counted_from: float  # monotonic: the last beat, or since when the host is expected
    last_seen_at: float | None
    instance: str = ""
    address: str = ""
    unreachable: str = ""
    superseded: deque[str] = field(factory=lambda: deque(maxlen=SUPERSEDED_KEPT))


Changed = Callable[[HostKey, State, State], None]
"""Told after a change of state: the host, the old and the new one."""


class PresenceTable:
    """The presence of every host that is known.

    :param interval_s: how often hosts beat.
    :param changed: told of each change of state.
    """

    def __init__(self, clocks: Clocks, interval_s: float, changed: Changed) -> None:
        self._clocks = clocks
        self._changed = changed
        self.expect_beats_every(interval_s)
        self._hosts: dict[HostKey, _Host] = {}
        self._due: dict[State, OrderedDict[HostKey, _Host]] = {state: OrderedDict() for state in State}
        self._unsaved: dict[HostKey, float] = {}

    def expect_beats_every(self, interval_s: float) -> None:
        """How often hosts beat from now on."""
        self.window_s = OFFLINE_AFTER_BEATS * interval_s
        self._limits = {
            State.UNKNOWN: (self.window_s, State.OFFLINE),
            State.ONLINE: (LATE_AFTER_BEATS * interval_s, State.LATE),
            State.LATE: (self.window_s, State.OFFLINE),
        }

    def expect(self, key: HostKey, last_seen_at: float | None = None) -> None:
        """A host is known to exist and has not been heard of since auth started, or since it joined."""
        before = self._hosts.get(key)
        seen = last_seen_at if before is None else before.last_seen_at
        self._remove(key)
        self._hosts[key] = host = _Host(State.UNKNOWN, self._clocks.monotonic(), seen)
        self._due[State.UNKNOWN][key] = host

    def begin(self) -> None:
        """Hosts can be heard from now on: of those that are unknown, nothing was missed before."""
        for host in self._due[State.UNKNOWN].values():
            host.counted_from = self._clocks.monotonic()

    def beat(self, key: HostKey, instance: str, address: str) -> None:
        """A host says that it is there.

        :param instance: random for each start of the host's process.
        :param address: where the beat came from, without the port.
        :raises HostDuplicate: another process, elsewhere, beats for the same host; or this one was superseded.
        """
        host = self._hosts.get(key)
        if host is None:
            self.expect(key)
            host = self._hosts[key]
        if host.instance != instance:
            self._admit(key, host, instance, address)
        host.address = address
        host.counted_from = self._clocks.monotonic()
        host.last_seen_at = self._unsaved[key] = self._clocks.wall()
        self._move(key, host, State.ONLINE)

    def _admit(self, key: HostKey, host: _Host, instance: str, address: str) -> None:
        """Let another process beat for the host; one that was superseded may only when its successor has gone."""
        is_there = host.state in (State.ONLINE, State.LATE)
        if is_there and instance in host.superseded:
            raise HostDuplicate(
                f"The host {key.uuid} was started again, and this process still beats for it. If nobody restarted it,"
                " two machines use one identity: have one of them join again with a data_dir of its own."
            )
        if is_there and host.instance and host.address != address:
            raise HostDuplicate(
                f"The host {key.uuid} beats from {host.address} already. Two machines use one identity: give this one"
                " a data_dir of its own and have it join."
            )
        if instance in host.superseded:
            host.superseded.remove(instance)
        if host.instance:
            host.superseded.append(host.instance)
        host.instance = instance

    def goodbye(self, key: HostKey, instance: str) -> None:
        """A host stops cleanly: it is offline at once. What a superseded process says is passed over."""
        host = self._hosts.get(key)
        if host is not None and host.instance in ("", instance):
            self._move(key, host, State.OFFLINE)

    def forget(self, key: HostKey) -> None:
        """The host was removed."""
        self._remove(key)
        self._unsaved.pop(key, None)

    def get(self, key: HostKey) -> Presence:
        host = self._hosts.get(key)
        return Presence(State.OFFLINE) if host is None else Presence(host.state, host.last_seen_at, host.unreachable)

    def is_live(self, key: HostKey) -> bool:
        """Whether the host may be there: online, late or unknown."""
        host = self._hosts.get(key)
        return host is not None and host.state is not State.OFFLINE

    def address(self, key: HostKey) -> str:
        """Where the host's last beat came from; empty where none was seen."""
        host = self._hosts.get(key)
        return host.address if host else ""

    def set_unreachable(self, key: HostKey, reason: str) -> bool:
        """Keep why proxies cannot dial the host (empty: they can), and answer whether that is news."""
        host = self._hosts.get(key)
        if host is None or host.unreachable == reason:
            return False
        host.unreachable = reason
        return True

    def sweep(self) -> None:
        """Move the hosts whose time is up to the next state."""
        now = self._clocks.monotonic()
        for state, (limit_s, next_state) in self._limits.items():
            due = self._due[state]
            while due:
                key, host = next(iter(due.items()))
                if now < host.counted_from + limit_s:
                    break
                self._move(key, host, next_state)

    def offline_since_before(self, instant: float) -> list[HostKey]:
        """The hosts that are offline and were last seen before a POSIX time, or never."""
        return [key for key, host in self._due[State.OFFLINE].items() if (host.last_seen_at or 0.0) < instant]

    def take_unsaved(self) -> dict[HostKey, float]:
        """When hosts were last seen, for those seen since this was last asked."""
        unsaved, self._unsaved = self._unsaved, {}
        return unsaved

    def not_saved(self, seen: Mapping[HostKey, float]) -> None:
        """What :meth:`take_unsaved` answered could not be written; it is, with what is newer, the next time."""
        self._unsaved = {**seen, **self._unsaved}

    def __iter__(self) -> Iterator[HostKey]:
        return iter(self._hosts)

    def _move(self, key: HostKey, host: _Host, state: State) -> None:
        old = host.state
        if old is state:
            self._due[state].move_to_end(key)
            return
        del self._due[old][key]
        host.state = state
        self._due[state][key] = host
        self._changed(key, old, state)

    def _remove(self, key: HostKey) -> None:
        host = self._hosts.pop(key, None)
        if host is not None:
            del self._due[host.state][key]
