"""What a node or proxy knows of its cluster when auth is away: fed by a watch, kept on disk, not believed for ever."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from attrs import frozen
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from teleport_conch.access.directory import Directory
from teleport_conch.access.known import Known
from teleport_conch.access.locks import Locks
from teleport_conch.access.roles import Role
from teleport_conch.certs.public import PublicAuthority
from teleport_conch.client.api import AuthClient
from teleport_conch.client.backoff import Backoff, Jitter
from teleport_conch.client.copy_on_disk import CopyOnDisk
from teleport_conch.client.mirrored import Kind, Mirrored
from teleport_conch.errors import Compacted, ConnectionProblem, HostLocked, TeleportError
from teleport_conch.resources.access_request import AccessRequest
from teleport_conch.resources.cluster import ClusterConfig, ClusterName
from teleport_conch.resources.fields import Fields
from teleport_conch.resources.lock import Lock
from teleport_conch.resources.preference import AuthPreference
from teleport_conch.resources.server import Server
from teleport_conch.resources.user import User
from teleport_conch.storage.backend import IBackend
from teleport_conch.storage.memory import MemoryBackend

#: Seconds for which a copy is used while auth is away.
TTL_S = 20 * 3600.0
#: Seconds between two tries to watch.
FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 10.0
#: Seconds between two notes on disk of when auth was heard last.
STAMP_S = 60.0

_OF_PEOPLE = frozenset(("role", "user", "lock", "access_request", "cluster_name"))


@frozen
class Emergency:
    """What a host goes by when auth cannot be reached: the keys that sign users' certificates, and the locks."""

    user_authorities: Collection[bytes]
    known: Known


class Cache(Service):
    """A copy of some kinds of resources.

    All methods that answer resources raise ``ConnectionProblem`` where there is no copy, or auth has not been heard of
    for longer than ``ttl_s``.

    :param backend: keeps the copy; it is opened and closed by whoever made it.
    :param kinds: some of :data:`~teleport_conch.client.kinds.READERS`.
    :param jitter: for the time between two tries to watch.
    :param ttl_s: seconds.
    :param cluster_name: a copy of another cluster is thrown away.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        backend: IBackend,
        client: AuthClient,
        kinds: Sequence[str],
        jitter: Jitter,
        ttl_s: float = TTL_S,
        cluster_name: str = "",
    ) -> None:
        self._reactor = reactor
        self._client = client
        self._kinds = tuple(kinds)
        self._ttl_s = ttl_s
        self._backoff = Backoff(FIRST_WAIT_S, LONGEST_WAIT_S, jitter)
        self._cluster_name = cluster_name
        self._mirrored = Mirrored(kinds, CopyOnDisk(backend, cluster_name))
        self._heard_at: float | None = None
        self._stamped_at = 0.0
        self._callbacks: dict[str, list[Callable[[], None]]] = {kind: [] for kind in kinds}
        self._waiting: list[Deferred[None]] = []
        self._following: Deferred[None] | None = None
        self._said = ""
        self._known_people: Known | None = None  # made anew after each change
        self._locked: HostLocked | None = None
        self._at_any_age = False
        self.live = False
        """Whether the copy follows auth at this moment."""

    def authorities(self, kind: str) -> PublicAuthority:
        """The ``user`` or ``host`` authority of the cluster."""
        found = [each for each in self._all("cert_authority", PublicAuthority) if each.kind == kind]
        return self._one(found, f"the {kind} authority")

    def configuration(self) -> ClusterConfig:
        """The last one that was heard of, however long ago: it lets nobody in."""
        return self._one(self._mirrored.all("cluster_config", ClusterConfig), "the configuration of the cluster")

    def preference(self) -> AuthPreference:
        return self._one(self._all("cluster_auth_preference", AuthPreference), "how people log in")

    def cluster_name(self) -> ClusterName:
        """It never changes, so that it is as good as ever."""
        return self._one(self._mirrored.all("cluster_name", ClusterName), "the name of the cluster")

    @property
    def away_s(self) -> float:
        """For how long auth has been away, in seconds: none while it is followed; infinity where it never was heard.

        An auth that calls this host locked is not away, so that no emergency opens what an administrator has shut.
        """
        if self.live or self._locked is not None:
            return 0.0
        return float("inf") if self._heard_at is None else self._reactor.seconds() - self._heard_at

    def emergency(self) -> Emergency:
        """What counts for those who come with a certificate for emergencies, however long ago it was heard.

        :raises ConnectionProblem: it never was.
        """
        users = [each for each in self._mirrored.all("cert_authority", PublicAuthority) if each.kind == "user"]
        authority = self._one(users, "the user authority")
        locks = Locks(self._mirrored.all("lock", Lock))
        return Emergency(authority.ssh_keys, Known(self.cluster_name().cluster_name, locks=locks))

    def roles(self) -> tuple[Role, ...]:
        return self._all("role", Role)

    def known(self) -> Known:
        """What decisions about people depend on; the same object until some of it changes.

        :raises HostLocked: auth says that this host is locked.
        """
        if self._locked is not None:
            raise HostLocked(self._locked.sentence)
        if self._known_people is None or not self._is_fresh():
            users = {user.name: user for user in self._all("user", User)}
            requests = {request.name: request for request in self._all("access_request", AccessRequest)}
            directory = Directory({role.name: role for role in self.roles()}, users, requests)
            locks = Locks(self._all("lock", Lock))
            self._known_people = Known(self.cluster_name().cluster_name, directory, locks)
        return self._known_people

    def nodes(self) -> tuple[Server, ...]:
        """All nodes. While auth is away they are in the state that it knew last."""
        return self._all("node", Server)

    def proxies(self) -> tuple[Server, ...]:
        return self._all("proxy", Server)

    def on_change(self, kind: str, callback: Callable[[], None]) -> None:
        """Have *callback* called after each change of resources of a kind, and once they have been read from disk."""
        self._callbacks[kind].append(callback)

    async def ready(self, at_any_age: bool = False) -> None:
        """Wait until there is something to answer, from the disk or from auth.

        :param at_any_age: what is too old for any question but those of an emergency will do.
        """
        self._at_any_age = at_any_age
        if not self._is_usable():
            waiting: Deferred[None] = Deferred()
            self._waiting.append(waiting)
            await waiting

    def startService(self) -> None:
        super().startService()
        self._following = Deferred.fromCoroutine(self._follow())
        self._following.addErrback(lambda reason: reason.trap(CancelledError))

    def stopService(self) -> Deferred[None]:
        """Ends the watch, and waits for the disk."""
        super().stopService()
        if self._following is not None:
            self._following.cancel()
        self.live = False
        for each in self._waiting:
            each.cancel()
        self._stamp()
        return Deferred.fromCoroutine(self._mirrored.disk.flush())

    async def leave_disk(self) -> None:
        """Goes on in memory only, as the copy on disk is another process's from now on."""
        self._stamp()
        await self._mirrored.disk.flush()
        self._mirrored.disk = CopyOnDisk(MemoryBackend(self._reactor), self._cluster_name)

    # What is known.

    def _all(self, kind: str, type_: type[Kind]) -> tuple[Kind, ...]:
        if not self._is_fresh():
            raise ConnectionProblem(self._why_nothing())
        return self._mirrored.all(kind, type_)

    def _one(self, found: Sequence[Kind], what: str) -> Kind:
        if self._heard_at is None:
            raise ConnectionProblem(self._why_nothing())
        if not found:
            raise ConnectionProblem(f"This host has not heard of {what} from the auth server yet.")
        return found[0]

    def _is_usable(self) -> bool:
        return self._heard_at is not None if self._at_any_age else self._is_fresh()

    def _is_fresh(self) -> bool:
        return self._heard_at is not None and self._reactor.seconds() - self._heard_at <= self._ttl_s

    def _why_nothing(self) -> str:
        if self._heard_at is None:
            return "This host has not heard from the auth server yet, and has no copy of what it said before."
        hours = (self._reactor.seconds() - self._heard_at) / 3600.0
        return (
            f"The auth server has not been heard for {hours:.1f} hours; what it said then is not believed any more "
            "(teleport.cache.ttl)."
        )

    # What is heard.

    async def _follow(self) -> None:
        await self._load()
        while self.running:  # a call that is cancelled while it connects fails as if nobody had answered
            try:
                await self._client.watch(self._kinds, 0, self._hear)
            except CancelledError:
                raise
            except HostLocked as reason:
                self._shut(reason)
            except TeleportError as reason:
                self._say(reason.sentence)
            except Exception:  # noqa: BLE001 - whatever it was, what is known stays, and the next try comes
                self._log.failure("The watch of the cluster failed.")
            self.live = False
            if self.running:
                await deferLater(self._reactor, self._backoff.next_s())

    def _shut(self, reason: HostLocked) -> None:
        """This host is locked: auth tells it nothing any more, and nobody may do anything here until it does again."""
        self._say(reason.sentence)
        self._locked = reason
        self._tell({"lock"} & self._callbacks.keys())

    def _say(self, sentence: str) -> None:
        if sentence != self._said:
            self._said = sentence
            self._log.warn("The cluster is not being followed, the copy is used: {reason}", reason=sentence)

    def _hear(self, line: dict[str, object]) -> None:
        fields = Fields(line, "line")
        what = fields.text("type", max_chars=32)
        changed: set[str] = set()
        if what == "init":
            changed = self._begin(line.get("items"))
        elif what == "put":
            changed = self._mirrored.put(line.get("resource"))
        elif what == "delete":
            changed = self._mirrored.delete(fields.text("kind", max_chars=64), fields.text("name", max_chars=255))
        elif what == "heartbeat":
            changed = self._mirrored.confirmed()
        elif what == "compacted":
            raise Compacted("The auth server does not keep the changes since; a new snapshot is due.")
        self._heard(changed)

    def _heard(self, changed: Collection[str]) -> None:
        self._heard_at = self._reactor.seconds()
        if self._heard_at - self._stamped_at >= STAMP_S:
            self._stamp()
        self._wake()
        self._tell(changed)

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.callback(None)

    def _stamp(self) -> None:
        if self._heard_at is not None:
            self._stamped_at = self._heard_at
            self._mirrored.disk.heard(self._heard_at)

    def _begin(self, items: object) -> set[str]:
        changed = self._mirrored.begin(items)
        self._backoff.reset()
        self._said = ""
        self._locked = None
        self.live = True
        return changed

    def _tell(self, changed: Collection[str]) -> None:
        if not _OF_PEOPLE.isdisjoint(changed):
            self._known_people = None
        for callback in [callback for kind in changed for callback in self._callbacks[kind]]:
            try:
                callback()
            except Exception:  # noqa: BLE001 - one who listens is not to cut the others off
                self._log.failure("A listener for changes of the cluster failed.")

    async def _load(self) -> None:
        self._heard_at, found = await self._mirrored.load()
        if self._is_usable():
            self._wake()
            self._tell(found)
