"""The two authorities of the cluster: made at the first start, read at each later one, followed when they change."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress

from attrs import define, field

from teleport_conch.auth.state import storing
from teleport_conch.certs import keys
from teleport_conch.certs.authority import Authority
from teleport_conch.certs.public import PublicAuthority
from teleport_conch.certs.tls import Kind
from teleport_conch.certs.trust import TLSAuthorities
from teleport_conch.errors import AlreadyExists, NotFound, StorageCorrupt, TeleportError
from teleport_conch.storage.backend import IBackend

PREFIX = "authorities/"
KINDS: tuple[Kind, ...] = ("user", "host")


def path(kind: Kind, cluster_name: str) -> str:
    return f"{PREFIX}{kind}/{cluster_name}"


@define(eq=False)
class Authorities:
    """What signs and what is trusted. Read with :func:`open_authorities`.

    :ivar generation: grows with each change, so that who judged by the former ones judges again.
    """

    _backend: IBackend
    cluster_name: str
    user: Authority
    host: Authority
    generation: int = field(init=False, default=0)
    trusted: TLSAuthorities = field(init=False)
    public_json: tuple[Mapping[str, object], ...] = field(init=False)
    """Both without their secrets, as resources."""
    public_text: bytes = field(init=False)
    """The same, as a list in JSON."""
    _public: dict[str, PublicAuthority] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._public = {authority.kind: authority.public() for authority in (self.user, self.host)}
        self.public_json = tuple(authority.to_json() for authority in self._public.values())
        self.public_text = b"[%s]" % b",".join(map(storing.encode, self.public_json))
        self.trusted = TLSAuthorities.of(self._public.values())

    def public(self, kind: str) -> PublicAuthority:
        """:raises NotFound: there are the kinds ``user`` and ``host`` only."""
        if kind not in self._public:
            raise NotFound(f"There is no authority of the type {kind[:32]!r}; there are user and host.")
        return self._public[kind]

    def pins(self) -> tuple[str, ...]:
        """What a joining host may pin: one for each key of the host authority."""
        return tuple(keys.ca_pin(certificate) for certificate in self.trusted.host)

    def fingerprints(self, kind: str) -> tuple[str, ...]:
        return tuple(keys.fingerprint(blob) for blob in self.public(kind).ssh_keys)

    async def reload(self) -> None:
        """Read them again, after somebody wrote them."""
        self.user = await _read(self._backend, "user", self.cluster_name)
        self.host = await _read(self._backend, "host", self.cluster_name)
        self.__attrs_post_init__()
        self.generation += 1


async def open_authorities(
    backend: IBackend, cluster_name: str, now: float, random: Callable[[int], bytes]
) -> Authorities:
    """The cluster's authorities; those that are missing are made. Of two who start at once, one makes them.

    :raises StorageCorrupt: what is stored is no authority.
    """
    for kind in KINDS:
        try:
            await backend.get(path(kind, cluster_name))
        except NotFound:
            await _make(backend, kind, cluster_name, now, random)
    user, host = [await _read(backend, kind, cluster_name) for kind in KINDS]
    return Authorities(backend, cluster_name, user, host)


async def _make(backend: IBackend, kind: Kind, cluster_name: str, now: float, random: Callable[[int], bytes]) -> None:
    authority = Authority.generate(kind, cluster_name, now, random)
    with suppress(AlreadyExists):  # the other one was first, and its authority is the one
        await backend.create(path(kind, cluster_name), storing.encode(authority.to_json(with_secrets=True)))


async def _read(backend: IBackend, kind: Kind, cluster_name: str) -> Authority:
    item = await backend.get(path(kind, cluster_name))
    try:
        return Authority.from_json(storing.decode(item))
    except (TeleportError, ValueError) as reason:
        raise StorageCorrupt(f"The {kind} authority in the database cannot be read: {reason}") from reason
