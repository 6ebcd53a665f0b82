"""The API of the auth service as methods: one for each route, values in and out, errors as auth raised them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from urllib.parse import quote

from twisted.internet.interfaces import IReactorTime

from teleport_conch.certs.public import PublicAuthority
from teleport_conch.client.answers import Ping, Status, UserCertificates, as_object, as_text, items
from teleport_conch.client.bots import Bots
from teleport_conch.client.exchange import Call
from teleport_conch.client.failures import AUTH, Called
from teleport_conch.client.people import People
from teleport_conch.client.recordings import Recordings
from teleport_conch.client.requests import Requests
from teleport_conch.client.rules import Rules
from teleport_conch.client.tls import IClusterPolicy, Identity, client_options
from teleport_conch.client.transport import Transport
from teleport_conch.resources.cluster import ClusterConfig, ClusterName
from teleport_conch.resources.fields import Fields
from teleport_conch.resources.joining import Heartbeat, HeartbeatAnswer, JoinAnswer, JoinRequest
from teleport_conch.resources.server import Server
from teleport_conch.resources.session import ActiveSession
from teleport_conch.resources.token import JoinToken

#: Seconds that one call may take at one address.
TIMEOUT_S = 30.0

_NODES = "/v1/namespaces/default/nodes"
_SESSIONS = "/v1/namespaces/default/sessions"


class AuthClient:
    """Calls to the auth service of one cluster.

    Every method raises what auth answered, as the class of :mod:`teleport_conch.errors` that auth raised, or
    ``ConnectionProblem``, ``ClockSkew`` or a ``CertificateRefused`` where there was no answer. The sentence is that of
    the first cause.

    :param addresses: ``host:port`` of each auth server; they are tried in this order.
    :param policy: how a server is verified, and who calls; see :func:`teleport_conch.client.tls.client_options`.
    :param timeout_s: seconds that one call may take at one address.
    :param called: what is said of who does not answer.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        addresses: Sequence[str],
        policy: IClusterPolicy,
        timeout_s: float = TIMEOUT_S,
        called: Called = AUTH,
    ) -> None:
        self._transport = Transport(reactor, addresses, policy, timeout_s, called)
        self.bots = Bots(self._transport)
        """Calls about robots."""
        self.recordings = Recordings(self._transport)
        """Calls about recorded sessions."""
        self.requests = Requests(self._transport)
        """Calls about access requests."""
        self.people = People(self._transport)
        """Calls about users and their logins."""
        self.rules = Rules(self._transport)
        """Who may do what."""

    @property
    def skew_s(self) -> float | None:
        """Auth's clock minus ours at the last answer, in seconds; None before the first."""
        return self._transport.skew_s

    def use_identity(self, identity: Identity) -> None:
        """Connect as *identity*, and trust its authorities, from the next connection on."""
        self._transport.use_policy(client_options(identity))

    async def close(self) -> None:
        """End the connections that no call is using."""
        await self._transport.close()

    # What a host does.

    async def ping(self) -> Ping:
        return Ping.from_json(await self._get("/v1/ping"))

    async def cacert(self) -> tuple[str, ...]:
        """PEMs of the host authority's certificates."""
        return items(await self._get("/v1/cacert"), as_text)

    async def register(self, request: JoinRequest) -> JoinAnswer:
        """Join with a token.

        :raises JoinRefused: one of its subclasses, by what is wrong.
        """
        return JoinAnswer.from_json(await self._post("/v1/tokens/register", request.to_json()))

    async def renew(self, request: JoinRequest) -> JoinAnswer:
        """Fresh certificates for the host that calls."""
        return JoinAnswer.from_json(await self._post("/v1/server/credentials", request.to_json()))

    async def beat(self, kind: str, beat: Heartbeat) -> HeartbeatAnswer:
        """Announce the host that calls; ``kind`` is node or proxy.

        :raises HostBarred: the host was removed and has to join again.
        """
        return HeartbeatAnswer.from_json(await self._post(_presence(kind, beat.server.name), beat.to_json()))

    async def goodbye(self, kind: str, uuid: str, instance: str) -> None:
        """The host that calls stops cleanly."""
        await self._transport.call(Call("DELETE", _presence(kind, uuid), body={"instance": instance}))

    async def report_reachability(self, uuid: str, error: str) -> None:
        """A proxy tried to dial a node; ``error`` is why it could not, empty where it could."""
        await self._post(f"{_NODES}/{_part(uuid)}/reachability", {"error": error})

    async def emit(self, events: Sequence[Mapping[str, object]]) -> None:
        """Hand events to the log. Sent twice they are kept once, by their uid."""
        await self._post("/v1/events", {"items": [dict(event) for event in events]})

    # Nodes and proxies.

    async def nodes(self, labels: Mapping[str, str] | None = None, search: str = "") -> tuple[Server, ...]:
        """Those that the caller may see; a person sees the ones that there is a login for.

        :param labels: only nodes that have all of them.
        :param search: only nodes with this text in a name or a label.
        """
        query = [("labels", f"{key}={value}") for key, value in (labels or {}).items()]
        query += [("search", search)] if search else []
        return items(await self._transport.call(Call("GET", _NODES, tuple(query))), Server.from_json)

    async def node(self, uuid: str) -> Server:
        """:raises NotFound: there is none."""
        return Server.from_json(await self._get(f"{_NODES}/{_part(uuid)}"))

    async def remove_node(self, uuid: str) -> None:
        """Remove a node and bar its identity until it joins again."""
        await self._delete(f"{_NODES}/{_part(uuid)}")

    async def remove_offline_nodes(self) -> tuple[str, ...]:
        """Remove every node that is offline, and answer their host UUIDs."""
        return items(await self._transport.call(Call("DELETE", _NODES, (("offline", "1"),))), as_text)

    async def proxies(self) -> tuple[Server, ...]:
        return items(await self._get("/v1/proxies"), Server.from_json)

    async def remove_proxy(self, uuid: str) -> None:
        """Remove a proxy and bar its identity until it joins again."""
        await self._delete(f"/v1/proxies/{_part(uuid)}")

    # Tokens.

    async def tokens(self) -> tuple[JoinToken, ...]:
        """Those that can be used now, static ones included, without their secrets."""
        return items(await self._get("/v1/tokens"), JoinToken.from_json)

    async def create_token(
        self,
        roles: Sequence[str],
        ttl_s: float,
        *,
        secret: str = "",
        node_name: str = "",
        principals: Sequence[str] = (),
        labels: Mapping[str, str] | None = None,
    ) -> tuple[str, JoinToken]:
        """A new token: its secret, which is shown only now, and what is kept of it.

        :param secret: one that was chosen; empty for a random one.
        :param node_name: with ``principals`` and ``labels``, what a host that uses the token is bound to.
        """
        body: dict[str, object] = {"roles": list(roles), "ttl": ttl_s}
        bound = {"token": secret, "node_name": node_name, "principals": list(principals), "labels": dict(labels or {})}
        body.update({key: value for key, value in bound.items() if value})
        answer = await self._transport.call(Call("POST", "/v1/tokens", body=body, repeatable=False))
        fields = Fields(answer, "answer")
        return fields.text("token", max_chars=512), JoinToken.from_json(fields.raw().get("resource"))

    async def remove_token(self, token: str) -> None:
        """:param token: its id or its secret."""
        await self._delete(f"/v1/tokens/{_part(token)}")

    # The cluster.

    async def authority(self, kind: str) -> PublicAuthority:
        """:param kind: ``user`` or ``host``."""
        return PublicAuthority.from_json(await self._get(f"/v1/authorities/{_part(kind)}"))

    async def configuration(self) -> ClusterConfig:
        return ClusterConfig.from_json(await self._get("/v1/configuration"))

    async def cluster_name(self) -> ClusterName:
        return ClusterName.from_json(await self._get("/v1/configuration/name"))

    async def status(self) -> Status:
        return Status.from_json(await self._get("/v1/status"))

    async def watch(self, kinds: Sequence[str], after: int, on_line: Callable[[dict[str, object]], None]) -> None:
        """Follow resources until auth ends the stream.

        :param after: the revision after which to go on; 0 for a snapshot first. Of that, the first line holds all but
            some of the servers, which follow as changes; the first heartbeat comes after the last of them.
        :param on_line: gets each line; an error that it raises ends the watch.
        :raises ConnectionProblem: also when nothing came for 30 s, or a line is too long.
        """
        query = (("kinds", ",".join(kinds)), ("after", str(after)))
        await self._transport.stream(Call("GET", "/v1/watch", query), on_line)

    # Certificates.

    async def sign_user(
        self,
        user: str,
        logins: Sequence[str],
        ttl_s: float,
        public_ssh_key: str,
        *,
        public_tls_key: str = "",
        roles: Sequence[str] = (),
        addresses: Sequence[str] = (),
    ) -> UserCertificates:
        """Certificates for a person: ``public_ssh_key`` is an authorized_keys line, ``public_tls_key`` a PEM.

        :param addresses: the only ones from where they may be used, addresses and CIDR blocks; none for everywhere.
        """
        body: dict[str, object] = {
            "user": user,
            "logins": list(logins),
            "ttl": ttl_s,
            "public_ssh_key": public_ssh_key,
            **({"public_tls_key": public_tls_key} if public_tls_key else {}),
            **({"roles": list(roles)} if roles else {}),
            **({"addresses": list(addresses)} if addresses else {}),
        }
        return UserCertificates.from_json(await self._post("/v1/ca/user/certs", body))

    async def sign_host(self, principals: Sequence[str], public_ssh_key: str, ttl_s: float | None = None) -> str:
        """A host's SSH certificate, as a line."""
        body: dict[str, object] = {"principals": list(principals), "public_ssh_key": public_ssh_key}
        if ttl_s is not None:
            body["ttl"] = ttl_s
        return Fields(await self._post("/v1/ca/host/certs", body), "answer").text("cert", max_chars=16384)

    async def sign_emergency(
        self, name: str, logins: Sequence[str], addresses: Sequence[str], ttl_s: float, public_ssh_key: str
    ) -> str:
        """An SSH certificate as a line, which nodes take only while they cannot reach auth.

        :param addresses: from where it may be used; addresses and CIDR blocks.
        """
        body = {
            "name": name,
            "logins": list(logins),
            "addresses": list(addresses),
            "ttl": ttl_s,
            "public_ssh_key": public_ssh_key,
        }
        return Fields(await self._post("/v1/ca/emergency/certs", body), "answer").text("cert", max_chars=16384)

    # Sessions and events.

    async def sessions(self) -> tuple[ActiveSession, ...]:
        return items(await self._get(_SESSIONS), ActiveSession.from_json)

    async def tell_sessions(self, running: Sequence[ActiveSession], ended: Sequence[str]) -> Mapping[str, str]:
        """Which sessions of the node that calls run, and which are over.

        :return: for the ids of those that auth refuses, why.
        """
        body = {"running": [session.to_json() for session in running], "ended": list(ended)}
        refused = Fields(await self._post(_SESSIONS, body), "answer").children("refused")
        return {each.text("id", max_chars=64): each.text("message", max_chars=4096) for each in refused}

    async def events(
        self,
        from_: float | None = None,
        to: float | None = None,
        names: Sequence[str] = (),
        limit: int | None = None,
    ) -> tuple[Mapping[str, object], ...]:
        """Events of the log between two instants (POSIX seconds), of some names or of all."""
        wanted = [("from", from_), ("to", to), ("limit", limit)]
        query = [(key, f"{value:.3f}".rstrip("0").rstrip(".")) for key, value in wanted if value is not None]
        query += [("event", name) for name in names]
        return items(await self._transport.call(Call("GET", "/v1/events", tuple(query))), as_object)

    async def _get(self, path: str) -> object:
        return await self._transport.call(Call("GET", path))

    async def _post(self, path: str, body: object) -> object:
        return await self._transport.call(Call("POST", path, body=body))

    async def _delete(self, path: str) -> None:
        await self._transport.call(Call("DELETE", path))


def _presence(kind: str, uuid: str) -> str:
    return f"/v1/presence/{_part(kind)}/{_part(uuid)}"


def _part(text: str) -> str:
    """One segment of a path, whatever it holds."""
    return quote(text, safe="")
