"""Routes of administrators, and those for what happens: tokens, certificates, sessions, events."""

from __future__ import annotations

from attrs import evolve

from teleport_conch.access.builtin import EMERGENCY
from teleport_conch.access.decision import Target
from teleport_conch.auth.cluster import Cluster
from teleport_conch.auth.emitting import Emit
from teleport_conch.auth.events import Events
from teleport_conch.auth.hosts.tokens import role_named
from teleport_conch.auth.limits import (
    EMERGENCY_CERTIFICATE_S,
    EVENTS_IN_ANSWER,
    HOST_CERTIFICATE_S,
    MAX_EVENTS_IN_REQUEST,
    MAX_LOGINS,
    MAX_SESSIONS_IN_REQUEST,
    TOKEN_TTL_S,
)
from teleport_conch.auth.people.certificates import LOGINS_TRAIT, EmergencyRequest, UserRequest
from teleport_conch.auth.routes.calls import Answer, Call, Encoded, Needs
from teleport_conch.auth.routes.gate import Gate
from teleport_conch.auth.routes.guards import Guards
from teleport_conch.auth.routes.host_routes import check_namespace
from teleport_conch.auth.routes.resource_routes import MAX_REVISION_DIGITS, revision_of
from teleport_conch.auth.signing import check_addresses, good_for, lasting, sign_for
from teleport_conch.auth.state.storing import encode_with
from teleport_conch.errors import AccessDenied, BadParameter
from teleport_conch.resources.fields import Fields
from teleport_conch.resources.session import ActiveSession
from teleport_conch.resources.token import JoinToken

SESSIONS = "/v1/namespaces/<namespace>/sessions"
MAX_KEY_CHARS = 16 << 10


def add(gate: Gate, cluster: Cluster, events: Events, emit: Emit) -> None:
    """Register the routes."""
    guards = Guards(cluster, emit)
    _add_tokens(gate, cluster, guards, emit)
    _add_certificates(gate, cluster, guards)
    _add_sessions(gate, cluster)
    _add_events(gate, events)


def _add_tokens(gate: Gate, cluster: Cluster, guards: Guards, emit: Emit) -> None:
    @gate.route("GET", "/v1/tokens", Needs("list", "token"))
    async def tokens(call: Call) -> Answer:
        return {"items": [token.to_json() for token in await cluster.tokens.all()]}

    @gate.route("POST", "/v1/tokens", Needs("create", "token"))
    async def create(call: Call) -> Answer:
        fields = Fields(call.body(), "token")
        wanted, ttl_s = _wanted(fields), fields.number("ttl", default=0.0) or TOKEN_TTL_S
        ttl_s = ttl_s if wanted.expires_at is None else wanted.expires_at - cluster.clocks.wall()
        guards.lets_in(call, wanted.roles)
        guards.outlasts(call, "create", "token", ttl_s)
        secret, token = await cluster.tokens.create(
            roles=wanted.roles,
            ttl_s=ttl_s,
            created_by=call.by,
            secret=fields.text("token", default="", max_chars=512),
            node_name=wanted.node_name,
            principals=wanted.principals,
            labels=wanted.labels,
        )
        emit("token.create", _about(token, call))
        return {"token": secret, "resource": token.to_json()}

    @gate.route("PUT", "/v1/tokens/<token>", Needs("update", "token"))
    async def replace(call: Call, token: str) -> Answer:
        fields = Fields(call.body(), "token")
        wanted, revision = _wanted(fields), fields.text("id", default="", max_chars=MAX_REVISION_DIGITS)
        guards.lets_in(call, wanted.roles)
        if wanted.expires_at is not None:
            guards.outlasts(call, "update", "token", wanted.expires_at - cluster.clocks.wall())
        changed = await cluster.tokens.replace(token, wanted, revision_of(revision))
        emit("token.update", _about(changed, call))
        return changed.to_json()

    @gate.route("DELETE", "/v1/tokens/<token>", Needs("delete", "token"))
    async def remove(call: Call, token: str) -> Answer:
        removed = await cluster.tokens.remove(token)
        emit("token.delete", {"token": removed.id, "user": call.by})
        return None


def _wanted(fields: Fields) -> JoinToken:
    """What somebody wants a token to be, who may leave all but the roles out."""
    roles = tuple(map(role_named, fields.texts("roles", max_items=8, max_chars=32)))
    return JoinToken(
        *("", roles, "", 0.0, fields.instant("expires")),
        node_name=fields.text("node_name", default="", max_chars=255),
        principals=fields.texts("principals", max_items=32, max_chars=255),
        labels=fields.text_map("labels", max_items=64),
    )


def _about(token: JoinToken, call: Call) -> dict[str, object]:
    about = {"token": token.id, "roles": token.roles, "user": call.by, "expires": token.expires_at}
    return {**about, "node_name": token.node_name, "principals": token.principals}


def _add_certificates(gate: Gate, cluster: Cluster, guards: Guards) -> None:
    @gate.route("POST", "/v1/ca/user/certs", Needs("create", "user_cert"))
    async def sign_user(call: Call) -> Answer:
        fields = Fields(call.body(), "request")
        request = UserRequest(
            name=fields.text("user", max_chars=255),
            logins=fields.texts("logins", max_chars=255),
            ssh_key=fields.text("public_ssh_key", max_chars=MAX_KEY_CHARS),
            tls_key=fields.text("public_tls_key", default="", max_chars=MAX_KEY_CHARS),
            roles=fields.texts("roles", max_items=32, max_chars=255),
            ttl_s=fields.number("ttl", default=0.0),
            addresses=fields.texts("addresses", max_items=64, max_chars=64),
        )
        roles, traits = good_for(cluster, request)
        guards.signs(call, "user_cert", roles, traits, request.name)
        is_person = call.known.identity.kind == "user"
        if is_person:
            check_addresses(request.addresses, roles, call.now, call.known.identity.source_address)
            request = evolve(request, ttl_s=lasting(request.ttl_s, roles, call.known, call.now))
        signed = await sign_for(cluster, request, call.by, as_login=is_person)
        certificates = {"cert": signed.ssh, "tls_cert": signed.tls}
        return Encoded(encode_with(certificates, "authorities", cluster.authorities.public_text))

    @gate.route("POST", "/v1/ca/emergency/certs", Needs("create", "emergency_cert"))
    async def sign_emergency(call: Call) -> Answer:
        fields = Fields(call.body(), "request")
        request = EmergencyRequest(
            name=fields.text("name", max_chars=64),
            logins=fields.texts("logins", max_items=MAX_LOGINS, max_chars=255),
            addresses=fields.texts("addresses", max_items=64, max_chars=64),
            ssh_key=fields.text("public_ssh_key", max_chars=MAX_KEY_CHARS),
            ttl_s=fields.number("ttl", default=0.0),
        )
        guards.signs(call, "emergency_cert", (EMERGENCY,), {LOGINS_TRAIT: request.logins})
        guards.outlasts(call, "create", "emergency_cert", request.ttl_s or EMERGENCY_CERTIFICATE_S)
        return {"cert": cluster.certificates.sign_emergency(request, call.by)}

    @gate.route("POST", "/v1/ca/host/certs", Needs("create", "host_cert"))
    async def sign_host(call: Call) -> Answer:
        fields = Fields(call.body(), "request")
        principals = fields.texts("principals", max_items=32, max_chars=255)
        key = fields.text("public_ssh_key", max_chars=MAX_KEY_CHARS)
        ttl_s = fields.number("ttl", default=0.0)
        guards.names_host(call, principals)
        guards.outlasts(call, "create", "host_cert", ttl_s or HOST_CERTIFICATE_S)
        return {"cert": cluster.certificates.sign_host(principals, key, ttl_s, call.by)}


def _add_sessions(gate: Gate, cluster: Cluster) -> None:
    @gate.route("GET", SESSIONS, Needs("list", "ssh_session", owner="*", lists_each=True))
    async def sessions(call: Call, namespace: str) -> Answer:
        check_namespace(namespace)
        found = await cluster.sessions.all()
        return {"items": [each.to_json() for each in found if call.may("list", "ssh_session", _whose(each))]}

    @gate.route("POST", SESSIONS, Needs("create", "ssh_session", owner="*"))
    async def hear(call: Call, namespace: str) -> Answer:
        check_namespace(namespace)
        fields = Fields(call.body(), "sessions")
        running = [ActiveSession.from_json(each.raw()) for each in fields.children("running", MAX_SESSIONS_IN_REQUEST)]
        ended = fields.texts("ended", MAX_SESSIONS_IN_REQUEST, max_chars=64)
        for session in running:
            _check_own(call, session)
        refused = await cluster.sessions.hear(call.known.caller.host_uuid, running, ended)
        return {"refused": [{"id": each, "code": reason.code, "message": reason.sentence} for each, reason in refused]}


def _whose(session: ActiveSession) -> Target:
    parties, resource = (session.user,), session.to_json()
    return Target(owner=session.server_id, user=session.user, participants=parties, resource=resource)


def _check_own(call: Call, session: ActiveSession) -> None:
    """Whose session runs where is what the host says on which it runs, and nobody else.

    :raises AccessDenied: the caller is another.
    """
    if call.known.caller.host_uuid != session.server_id:
        raise AccessDenied("A session is announced, and ended, by the host on which it runs.")


def _add_events(gate: Gate, events: Events) -> None:
    @gate.route("GET", "/v1/events", Needs("list", "event"))
    async def search(call: Call) -> Answer:
        start, end = call.between()
        limit = int(call.number("limit", EVENTS_IN_ANSWER))
        return {"items": await events.search(start, end, call.queries("event"), limit)}

    @gate.route("POST", "/v1/events", Needs("create", "event"))
    async def take(call: Call) -> Answer:
        host_uuid = call.known.caller.host_uuid
        if not host_uuid:
            raise AccessDenied("Events are handed in by the hosts on which they happened.")
        values = Fields(call.body(), "request").raw().get("items")
        if not isinstance(values, list):
            raise BadParameter(f"request.items has to be a list of at most {MAX_EVENTS_IN_REQUEST} events.")
        return {"message": "ok", "new": await events.take(values, host_uuid)}
