"""Routes by which people come in: links, logins, web sessions, passwords. The proxy calls them for people.

What a person typed goes through the proxy, which says from which address it came; nobody else is believed.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from operator import attrgetter

from teleport_conch.access.directory import Claims
from teleport_conch.access.roles import Role
from teleport_conch.access.templates import Traits
from teleport_conch.auth.cluster import Cluster
from teleport_conch.auth.emitting import Emit
from teleport_conch.auth.people.people_certificates import Issued, Wanted
from teleport_conch.auth.people.proving import Given
from teleport_conch.auth.people.users import check_no_robot
from teleport_conch.auth.routes.calls import Answer, Call, Encoded, Needs
from teleport_conch.auth.routes.gate import Gate
from teleport_conch.auth.routes.guards import Guards
from teleport_conch.auth.state.storing import encode_with
from teleport_conch.errors import AccessDenied, BadParameter
from teleport_conch.resources.access_request import MAX_ID_CHARS, MAX_IDS
from teleport_conch.resources.fields import Fields

USER = "/v1/users/<name>"
MAX_KEY_CHARS = 16 << 10
MAX_TYPED_CHARS = 4096
MAX_TOKEN_CHARS = 256
MAX_CODE_CHARS = 64
_BY_PROXY = Needs("create", "user_login")


def add(gate: Gate, cluster: Cluster, emit: Emit) -> None:
    """Register the routes."""
    _add_links(gate, cluster, emit)
    _add_logins(gate, cluster)
    _add_web_sessions(gate, cluster)
    _add_lockout(gate, cluster, emit)


def _add_links(gate: Gate, cluster: Cluster, emit: Emit) -> None:
    people, guards = cluster.people, Guards(cluster, emit)

    @gate.route("POST", f"{USER}/invites", Needs("update", "user"))
    async def create(call: Call, name: str) -> Answer:
        fields = Fields(call.body(), "request")
        kind, ttl_s = fields.text("kind", max_chars=16), fields.number("ttl", default=0.0)
        if kind == "renew":
            raise BadParameter("A link of the kind renew is for who has password and second factor; ask for a reset.")
        check_no_robot(name)
        guards.gives(call, None, cluster.users.get(name))  # who sets another's password can be that person
        token, invite = await people.link(name, kind, ttl_s, call.by)
        return {"token": token, "kind": invite.kind, "expires": invite.expires_at}

    @gate.route("POST", f"{USER}/web/invites", _BY_PROXY)
    async def renewal(call: Call, name: str) -> Answer:
        proven = await people.proving.prove(_given(call, name, "renew"))
        user = proven.user.name
        token, invite = await people.link(user, "renew", 0.0, user, proven.generation)
        return {"token": token, "kind": invite.kind, "expires": invite.expires_at}

    @gate.route("POST", "/v1/web/invites/open", _BY_PROXY)
    async def opened(call: Call) -> Answer:
        fields = Fields(call.body(), "request")
        opened = await people.invites.open(fields.text("token", max_chars=MAX_TOKEN_CHARS), _address(call, fields))
        invite = opened.invite
        return {
            "user": invite.user,
            "kind": invite.kind,
            "expires": invite.expires_at,
            "second_factor": opened.second_factor,
            "otp_secret": invite.otp_secret if opened.otp_uri else "",
            "otp_uri": opened.otp_uri,
        }

    @gate.route("POST", "/v1/web/invites/accept", _BY_PROXY)
    async def accept(call: Call) -> Answer:
        fields = Fields(call.body(), "request")
        user, codes = await people.accept(
            fields.text("token", max_chars=MAX_TOKEN_CHARS),
            fields.text("password", default="", max_chars=MAX_TYPED_CHARS),
            fields.text("otp_token", default="", max_chars=MAX_CODE_CHARS),
            _address(call, fields),
        )
        return {"user": user, "recovery_codes": list(codes)}


def _add_logins(gate: Gate, cluster: Cluster) -> None:
    people = cluster.people

    @gate.route("POST", f"{USER}/ssh/authenticate", _BY_PROXY)
    async def log_in(call: Call, name: str) -> Answer:
        fields = Fields(call.body(), "request")
        ssh_key, tls_key, ttl_s = _keys(fields)
        user = (await people.proving.prove(_given(call, name, "local", fields))).user
        roles = cluster.directory.roles_of(Claims(user.name, user.roles, call.now), call.now)
        wanted = Wanted(user.name, roles, user.traits, ssh_key, tls_key, ttl_s, _address(call, fields), user.expires_at)
        issued = people.certificates.issue(wanted, "local")
        request_access, prompt = cluster.requests.strategy(user.name)
        return _answer(cluster, user.name, issued, {"request_access": request_access, "request_prompt": prompt})

    @gate.route("POST", "/v1/ca/user/renew", Needs("create", "user_cert", owner="*"))
    async def renew(call: Call) -> Answer:
        identity = call.known.identity
        if identity.kind != "user" or identity.generation:
            raise BadParameter(
                "Certificates are renewed in this way by people; hosts and robots have ways of their own."
            )
        fields = Fields(call.body(), "request")
        ssh_key, tls_key, ttl_s = _keys(fields)
        own = tuple(role for role in call.known.caller.roles if not role.request)
        lent = _lent(cluster, call, fields)
        wanted = Wanted(
            identity.name,
            tuple(sorted((*own, *lent), key=attrgetter("name"))),
            identity.traits,
            ssh_key,
            tls_key,
            ttl_s,
            call.address,
            identity.not_after,
            (*identity.principals, *(login for role in lent for login in role.allow.logins_of(identity.traits))),
            identity.source_address,
            requests=tuple(sorted({role.request for role in lent})),
            partial=not _all_of(cluster, identity.name) <= {role.name for role in own},
        )
        return _answer(cluster, identity.name, people.certificates.issue(wanted, "renew"))

    @gate.route("PUT", f"{USER}/web/password", _BY_PROXY)
    async def change_password(call: Call, name: str) -> Answer:
        fields = Fields(call.body(), "request")
        given = _given(call, name, "password", fields, "old_password")
        await people.change_password(given, fields.text("new_password", default="", max_chars=MAX_TYPED_CHARS))
        return None


def _add_web_sessions(gate: Gate, cluster: Cluster) -> None:
    people = cluster.people

    @gate.route("POST", f"{USER}/web/sessions", _BY_PROXY)
    async def begin(call: Call, name: str) -> Answer:
        proven = await people.proving.prove(_given(call, name, "web"))
        secret, session = await people.sessions.begin(proven.user, proven.generation)
        return {"session": secret, "expires": session.ends_at}

    @gate.route("POST", "/v1/web/sessions/open", _BY_PROXY)
    async def use(call: Call) -> Answer:
        fields = Fields(call.body(), "request")
        _address(call, fields)
        user, session = await people.sessions.use(fields.text("session", default="", max_chars=MAX_TOKEN_CHARS))
        return {"user": user.name, "roles": list(user.roles), "expires": session.expires_at}

    @gate.route("POST", "/v1/web/sessions/close", _BY_PROXY)
    async def end(call: Call) -> Answer:
        fields = Fields(call.body(), "request")
        await people.sessions.end(fields.text("session", default="", max_chars=MAX_TOKEN_CHARS))
        return None


def _add_lockout(gate: Gate, cluster: Cluster, emit: Emit) -> None:
    @gate.route("DELETE", f"{USER}/lockout", Needs("update", "user"))
    async def lift(call: Call, name: str) -> Answer:
        await cluster.people.unlock(cluster.users.get(name))
        emit("user.unlock", {"name": name, "user": call.by})
        return None


def _given(call: Call, name: str, method: str, fields: Fields | None = None, typed_in: str = "") -> Given:
    fields = fields or Fields(call.body(), "request")
    return Given(
        name,
        fields.text(typed_in or "password", default="", max_chars=MAX_TYPED_CHARS),
        fields.text("otp_token", default="", max_chars=MAX_CODE_CHARS),
        fields.text("recovery_code", default="", max_chars=MAX_CODE_CHARS),
        _address(call, fields),
        method,
    )


def _address(call: Call, fields: Fields) -> str:
    """The address of a person's machine in its usual form: what a proxy says, and who is none has their own only."""
    if call.known.role != "Proxy":
        return call.address
    text = fields.text("client_address", max_chars=64)
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        raise BadParameter(f"{fields.where}.client_address has to be an IP address.") from None
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(found).partition("%")[0]


def _keys(fields: Fields) -> tuple[str, str, float]:
    ssh_key = fields.text("public_ssh_key", max_chars=MAX_KEY_CHARS)
    tls_key = fields.text("public_tls_key", max_chars=MAX_KEY_CHARS)
    return ssh_key, tls_key, fields.number("ttl", default=0.0)


def _all_of(cluster: Cluster, name: str) -> set[str]:
    """The roles of a user; none of somebody who is not stored."""
    user = cluster.users.usable(name)
    return set() if user is None else set(user.roles)


def _lent(cluster: Cluster, call: Call, fields: Fields) -> tuple[Role, ...]:
    """What the access requests lend that the call names, and those of its certificate that count still.

    They are filled in with the traits of the certificate, and who approved looked at those of the user.

    :raises AccessDenied: one that it names does not count, or the user has other traits than the certificate.
    """
    identity, directory = call.known.identity, cluster.directory
    still = (each for each in identity.requests if not directory.why_not(identity.name, each, call.now))
    ids = dict.fromkeys((*still, *fields.texts("requests", MAX_IDS, max_chars=MAX_ID_CHARS)))
    if len(ids) > MAX_IDS:
        raise BadParameter(f"A certificate has the roles of at most {MAX_IDS} access requests; log in again.")
    lent = directory.lent_to(identity.name, ids, call.now)
    if lent and _filled(cluster.users.get(identity.name).traits) != _filled(identity.traits):
        raise AccessDenied(
            "Your certificate has other traits than you have now, so nothing is lent by it: log in again."
        )
    return lent


def _filled(traits: Traits) -> Traits:
    """The traits that say something."""
    return {name: values for name, values in traits.items() if values}


def _answer(cluster: Cluster, name: str, issued: Issued, more: Mapping[str, object] | None = None) -> Answer:
    about = {"user": name, "roles": list(issued.roles), "expires": issued.expires_at, **(more or {})}
    certificates = {"cert": issued.ssh, "tls_cert": issued.tls}
    return Encoded(encode_with({**about, **certificates}, "authorities", cluster.authorities.public_text))
