"""The locks of a cluster, kept so that a decision looks at those only that may speak of who asks."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from attrs import Factory, field, frozen

from teleport_conch.access.findings import Failure
from teleport_conch.access.shown import shown
from teleport_conch.resources.lock import Lock


def _by_name(locks: Iterable[Lock]) -> tuple[Lock, ...]:
    return tuple(sorted(locks, key=lambda lock: lock.name))


def _indexed(locks: Locks) -> Mapping[tuple[str, str], tuple[Lock, ...]]:
    found: dict[tuple[str, str], list[Lock]] = {}
    for lock in locks.every:
        first, *_ = lock.targets().items()
        found.setdefault(first, []).append(lock)
    return {key: tuple(near) for key, near in found.items()}


@frozen
class Locks:
    """:param every: in any order; kept sorted by name, so that their order never matters."""

    every: tuple[Lock, ...] = field(default=(), converter=_by_name)
    _index: Mapping[tuple[str, str], tuple[Lock, ...]] = field(
        init=False, eq=False, repr=False, default=Factory(_indexed, takes_self=True)
    )

    def __bool__(self) -> bool:
        return bool(self.every)

    def against(
        self, user: str, roles: Collection[str], login: str, nodes: Collection[str], now: float
    ) -> tuple[Lock, ...]:
        """The locks in force that shut out who has all of this, sorted by name.

        :param login: the account on a node; empty where none is asked for, and locks with a login say nothing then.
        :param nodes: what the node is called, UUID and name; none where no node is asked for.
        """
        near = self._near(user, roles, login, nodes)
        return _by_name(lock for lock in near if _matches(lock, user, roles, login, nodes, now))

    def _near(self, user: str, roles: Collection[str], login: str, nodes: Collection[str]) -> Iterator[Lock]:
        every = {"user": (user,), "login": (login,), "node": nodes, "role": roles}
        for target, values in every.items():
            for value in dict.fromkeys(values):
                yield from self._index.get((target, value), ())


def _matches(lock: Lock, user: str, roles: Collection[str], login: str, nodes: Collection[str], now: float) -> bool:
    return (
        lock.user in ("", user)
        and lock.login in ("", login)
        and (not lock.node or lock.node in nodes)
        and (not lock.role or lock.role in roles)
        and lock.in_force_at(now)
    )


NO_LOCKS = Locks()


def because(locks: Sequence[Lock]) -> str:
    """What the person hears of locks: the first message that there is."""
    message = next((lock.message for lock in locks if lock.message), "")
    return f"locked by an administrator ({shown(message)})" if message else "locked by an administrator"


def failure_of(lock: Lock) -> Failure:
    """What a trace says of a lock."""
    targets = " and ".join(f"{target} {shown(name)}" for target, name in lock.targets().items())
    message = f": {shown(lock.message)}" if lock.message else ""
    name = shown(lock.name)
    return Failure("lock", f"the lock {name} is in force on {targets}{message}", f"remove the lock {name}")
