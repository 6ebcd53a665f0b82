"""What ``tsh login`` does to get roles for a while: asks for them, waits for a decision, and fetches certificates."""

from __future__ import annotations

import sys

from attrs import evolve, frozen
from twisted.internet.interfaces import IReactorTime

from teleport_conch.certs import keys
from teleport_conch.cli.table import inert
from teleport_conch.client.api import AuthClient
from teleport_conch.client.profiles import Login
from teleport_conch.client.tls import client_options
from teleport_conch.errors import AccessDenied, BadParameter
from teleport_conch.resources.access_request import AccessRequest, RequestState

_WITHOUT_REASON = "Your roles want a reason at each login. Log in with --request-reason=..., and say what for."


@frozen
class Asking:
    """What is asked for: roles, ``*`` for all that may be, none for nothing; and what for."""

    roles: tuple[str, ...] = ()
    reason: str = ""

    def by(self, request_access: str, prompt: str) -> Asking:
        """The same for somebody whose roles say that each login asks.

        :param request_access: ``optional``, ``always`` or ``reason``.
        :param prompt: of whoever made the roles.
        :raises BadParameter: a reason is due.
        """
        if request_access == "reason" and not self.reason.strip():
            raise BadParameter(f"{inert(prompt)} {_WITHOUT_REASON}".strip())
        return self if self.roles or request_access == "optional" else evolve(self, roles=("*",))


async def ask(reactor: IReactorTime, login: Login, asking: Asking) -> Login:
    """The login with the roles that it asked for, once somebody has approved them.

    :raises AccessDenied: they may not be asked for, or were denied.
    :raises NotFound: nobody decided in time, or the request was removed.
    """
    client = AuthClient(reactor, [login.profile.web_proxy_addr], client_options(login.identity))
    try:
        made = await client.requests.create(asking.roles, asking.reason)
        _say(f"Seeking request approval... (id: {made.name})")
        decided = await client.requests.decided(reactor, made)
        _check(decided)
        _say(f"Approval received, getting updated certificates...{_because(decided, ' ')}")
        return await _renewed(client, login, decided)
    finally:
        await client.close()


def _check(decided: AccessRequest) -> None:
    if decided.state is not RequestState.APPROVED:
        raise AccessDenied(f"request {decided.name} has been set to {decided.state.name}{_because(decided, ', ')}")


def _because(decided: AccessRequest, between: str) -> str:
    return f'{between}reason="{inert(decided.resolve_reason)}"' if decided.resolve_reason else ""


async def _renewed(client: AuthClient, login: Login, request: AccessRequest) -> Login:
    """Certificates for the same key, with what the request lends beside what they had."""
    identity = login.identity
    public = keys.load_private_pem(identity.key).public_key()
    line, pem = keys.public_line(keys.public_blob(public)), keys.public_pem(public)
    renewed = (await client.people.renew(line, pem, requests=(request.name,))).certificates
    changed = evolve(
        identity,
        ssh_certificate=renewed.ssh_certificate,
        tls_certificate=renewed.tls_certificate,
        authorities=tuple(each for each in renewed.authorities if each.kind == "host"),
    )
    return evolve(login, identity=changed)


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
