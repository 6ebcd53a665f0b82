"""Routes of robots, and those by which administrators make and remove them."""

from __future__ import annotations

from teleport_conch.auth.cluster import Cluster
from teleport_conch.auth.emitting import Emit
from teleport_conch.auth.people.bots import Keys
from teleport_conch.auth.people.people_certificates import Issued
from teleport_conch.auth.routes.calls import ANYBODY, Answer, Call, Encoded, Needs
from teleport_conch.auth.routes.gate import Gate
from teleport_conch.auth.routes.guards import Guards
from teleport_conch.auth.routes.login_routes import MAX_KEY_CHARS, MAX_TOKEN_CHARS
from teleport_conch.auth.state.storing import encode_with
from teleport_conch.resources.bot import MAX_LOGINS, MAX_NAME_CHARS, Bot
from teleport_conch.resources.fields import Fields
from teleport_conch.resources.user import MAX_ROLES

BOTS = "/v1/bots"


def add(gate: Gate, cluster: Cluster, emit: Emit) -> None:
    """Register the routes."""
    _add_administration(gate, cluster, Guards(cluster, emit))
    _add_certificates(gate, cluster)


def _add_administration(gate: Gate, cluster: Cluster, guards: Guards) -> None:
    bots = cluster.bots

    @gate.route("GET", BOTS, Needs("list", "bot"))
    async def every(call: Call) -> Answer:
        return {"items": [stored.value.bot.to_json() for stored in bots.shelf.all()]}

    @gate.route("POST", BOTS, Needs("create", "bot"))
    async def create(call: Call) -> Answer:
        fields = Fields(call.body(), "bot")
        bot, user = bots.new(
            fields.text("name", max_chars=MAX_NAME_CHARS),
            tuple(dict.fromkeys(fields.texts("roles", MAX_ROLES, max_chars=255))),
            fields.texts("logins", MAX_LOGINS, max_chars=255),
            call.by,
        )
        ttl_s = fields.number("ttl", default=0.0)
        await cluster.rewriting.acquire()
        try:
            guards.gives(call, None, user)
            token, expires_at = await bots.create(bot, user, ttl_s)
        finally:
            cluster.rewriting.release()
        return {"token": token, "resource": bot.to_json(), "expires": expires_at}

    @gate.route("DELETE", f"{BOTS}/<name>", Needs("delete", "bot"))
    async def remove(call: Call, name: str) -> Answer:
        await bots.remove(name, call.by)
        return None


def _add_certificates(gate: Gate, cluster: Cluster) -> None:
    @gate.route("POST", f"{BOTS}/join", ANYBODY)
    async def join(call: Call) -> Answer:
        fields = Fields(call.body(), "request")
        token = fields.text("token", max_chars=MAX_TOKEN_CHARS)
        return _answer(cluster, *await cluster.bots.join(token, _keys(fields), call.address))

    @gate.route("POST", f"{BOTS}/renew", Needs("create", "bot_cert", owner="*"))
    async def renew(call: Call) -> Answer:
        fields = Fields(call.body(), "request")
        return _answer(cluster, *await cluster.bots.renew(call.known.identity, _keys(fields), call.address))


def _keys(fields: Fields) -> Keys:
    return Keys(
        fields.text("public_ssh_key", max_chars=MAX_KEY_CHARS), fields.text("public_tls_key", max_chars=MAX_KEY_CHARS)
    )


def _answer(cluster: Cluster, issued: Issued, bot: Bot) -> Answer:
    about = {"user": bot.user, "roles": list(issued.roles), "expires": issued.expires_at}
    certificates = {"cert": issued.ssh, "tls_cert": issued.tls, "generation": bot.generation}
    return Encoded(encode_with({**about, **certificates}, "authorities", cluster.authorities.public_text))
