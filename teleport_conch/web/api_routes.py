"""The web API: what the proxy says of itself, logins for certificates, links, and the sessions of browsers.

Teleport's names and shapes; ``docs/web.rst`` describes each route.
"""

from __future__ import annotations

import math

from teleport_conch.certs import public
from teleport_conch.client.people import Credentials, LoggedIn
from teleport_conch.errors import BadParameter
from teleport_conch.resources.fields import Fields
from teleport_conch.web import limits
from teleport_conch.web.answers import Answer, Cookie, Data
from teleport_conch.web.gate import Gate, Who
from teleport_conch.web.guard import SESSION_COOKIE, form_token
from teleport_conch.web.surroundings import Surroundings
from teleport_conch.web.visit import Visit

DONE = {"message": "ok"}
MIN_CLIENT_VERSION = "0.1.0"
MAX_SECRET_CHARS = 512
_MAX_NAME_CHARS = 255
_NS = 1_000_000_000


def add(gate: Gate) -> None:
    """Register the routes."""
    _add_facts(gate, gate.surroundings)
    _add_certificates(gate, gate.surroundings)
    _add_links(gate, gate.surroundings)
    _add_sessions(gate, gate.surroundings)


def _facts(around: Surroundings) -> dict[str, object]:
    addresses = around.addresses()
    ssh = {
        "listen_addr": addresses.ssh_listen,
        "tunnel_listen_addr": "",
        "public_addr": addresses.public,
        "ssh_public_addr": addresses.ssh_public,
        "ssh_tunnel_public_addr": addresses.tunnel_public,
        "web_listen_addr": addresses.web_listen,
    }
    return {
        "auth": {"type": "local", "second_factor": around.second_factor()},
        "proxy": {"kube": {"enabled": False}, "ssh": ssh},
        "cluster_name": around.cluster_name(),
        "server_version": around.version,
        "min_client_version": MIN_CLIENT_VERSION,
        "server_time": around.clock.seconds(),
    }


def _add_facts(gate: Gate, around: Surroundings) -> None:
    @gate.api("GET", "/webapi/ping")
    async def ping(visit: Visit) -> Answer:
        return Data(_facts(around))

    @gate.api("GET", "/webapi/find")
    async def find(visit: Visit) -> Answer:
        facts = _facts(around)
        return Data({key: facts[key] for key in ("proxy", "cluster_name", "server_version", "min_client_version")})

    @gate.api("GET", "/webapi/cacert")
    async def cacert(visit: Visit) -> Answer:
        hosts = [authority for authority in around.authorities() if authority.kind == "host"]
        return Data({"items": [pem for authority in hosts for pem in authority.tls_certificates]})


def _add_certificates(gate: Gate, around: Surroundings) -> None:
    @gate.api("POST", "/webapi/ssh/certs")
    async def certificates(visit: Visit) -> Answer:
        fields = Fields(visit.body(), "login")
        logged_in = await around.people().log_in(
            fields.text("user", max_chars=_MAX_NAME_CHARS),
            _credentials(fields, "password"),
            public_ssh_key=public.unpacked(fields, "pub_key"),
            public_tls_key=public.unpacked(fields, "tls_pub_key"),
            client_address=visit.address,
            ttl_s=_seconds(fields.number("ttl", default=0.0)),
        )
        return Data(_signed(logged_in))


def _credentials(fields: Fields, password: str, otp: str = "otp_token") -> Credentials:
    return Credentials(
        fields.text(password, max_chars=limits.MAX_FIELD_CHARS),
        fields.text(otp, default="", max_chars=MAX_SECRET_CHARS),
        fields.text("recovery_code", default="", max_chars=MAX_SECRET_CHARS),
    )


def _seconds(nanoseconds: float) -> float:
    seconds = nanoseconds / _NS
    if not (math.isfinite(seconds) and 0 <= seconds <= limits.MAX_TTL_S):
        raise BadParameter("login.ttl is a number of nanoseconds, which is 0 for the usual time.")
    return seconds


def _signed(logged_in: LoggedIn) -> dict[str, object]:
    signed = logged_in.certificates
    signers = [
        {
            "domain_name": authority.cluster_name,
            "checking_keys": public.packed_all(authority.lines()),
            "tls_certs": public.packed_all(authority.tls_certificates),
        }
        for authority in signed.authorities
        if authority.kind == "host"
    ]
    return {
        "username": logged_in.user,
        "cert": public.packed(signed.ssh_certificate),
        "tls_cert": public.packed(signed.tls_certificate),
        "host_signers": signers,
        "request_access": logged_in.request_access,
        "request_prompt": logged_in.request_prompt,
        "authorities": [authority.to_json() for authority in signed.authorities],
    }


def _add_links(gate: Gate, around: Surroundings) -> None:
    @gate.api("GET", "/webapi/users/password/token/<token>")
    async def open_link(visit: Visit, token: str) -> Answer:
        opened = await around.people().open_invite(token, visit.address)
        return Data(
            {
                "user": opened.user,
                "kind": opened.kind,
                "expires": opened.expires_at,
                "second_factor": opened.second_factor,
                "otp_secret": opened.otp_secret,
                "otp_uri": opened.otp_uri,
            }
        )

    @gate.api("PUT", "/webapi/users/password/token")
    async def use_link(visit: Visit) -> Answer:
        fields = Fields(visit.body(), "link")
        token = fields.text("token", max_chars=MAX_SECRET_CHARS)
        password = public.unpacked(fields, "password")
        code = fields.text("second_factor_token", default="", max_chars=MAX_SECRET_CHARS)
        accepted = await around.people().accept_invite(token, password, code, visit.address)
        return Data({"user": accepted.user, "recovery_codes": list(accepted.recovery_codes)})

    @gate.api("PUT", "/webapi/users/password", Who.PERSON)
    async def change_password(visit: Visit) -> Answer:
        fields = Fields(visit.body(), "change")
        old, new = public.unpacked(fields, "old_password"), public.unpacked(fields, "new_password")
        code = fields.text("second_factor_token", default="", max_chars=MAX_SECRET_CHARS)
        await around.people().change_password(visit.known.user, old, new, code, visit.address)
        return Data(DONE)


def _add_sessions(gate: Gate, around: Surroundings) -> None:
    @gate.api("POST", "/webapi/sessions")
    async def begin(visit: Visit) -> Answer:
        fields = Fields(visit.body(), "login")
        user = fields.text("user", max_chars=_MAX_NAME_CHARS)
        credentials = _credentials(fields, "pass", "second_factor_token")
        session = await around.people().open_web_session(user, credentials, visit.address)
        left_s = max(0, int(session.expires_at - around.clock.seconds()))
        token = {"type": "bearer", "token": form_token(session.session), "expires_in": left_s}
        return Data(token, cookies=(Cookie(SESSION_COOKIE, session.session),))

    @gate.api("DELETE", "/webapi/sessions", Who.PERSON)
    async def end(visit: Visit) -> Answer:
        await around.people().close_web_session(visit.session, visit.address)
        return Data(DONE, cookies=(Cookie(SESSION_COOKIE, ""),))

    @gate.api("GET", "/webapi/user/status", Who.PERSON)
    async def status(visit: Visit) -> Answer:
        owner = visit.known
        return Data({"user": owner.user, "roles": list(owner.roles), "expires": owner.expires_at})

    @gate.api("GET", "/webapi/sites", Who.PERSON)
    async def sites(visit: Visit) -> Answer:
        addresses = around.addresses()
        own = {
            "name": around.cluster_name(),
            "status": "online",
            "lastConnected": around.clock.seconds(),
            "publicURL": addresses.public or addresses.web_listen,
            "proxyVersion": around.version,
        }
        return Data({"items": [own]})
