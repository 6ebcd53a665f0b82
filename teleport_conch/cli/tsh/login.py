"""``tsh login``: a verified proxy, a password and a second factor, and certificates that end by themselves."""

from __future__ import annotations

import getpass
import sys
import time
from argparse import Namespace
from collections.abc import Callable
from functools import partial
from typing import cast

from twisted.internet.interfaces import IReactorCore, IReactorTime

from teleport_conch.certs import keys
from teleport_conch.certs.identity import UserIdentity
from teleport_conch.cli.identity_out import check_free, written
from teleport_conch.cli.logs import begin_log, observer
from teleport_conch.cli.running import run_to_end
from teleport_conch.cli.table import inert
from teleport_conch.cli.tsh import login_wishes, openssh, places, requesting, status
from teleport_conch.cli.tsh.places import ProxyAddress, parse_proxy
from teleport_conch.cli.tsh.prompts import Ask, ask_secret, credentials, progress
from teleport_conch.cli.tsh.requesting import Asking
from teleport_conch.cli.tsh.ssh_config import for_tsh
from teleport_conch.client.profiles import Home, Login, Profile
from teleport_conch.client.ssh import agent
from teleport_conch.client.web import ProxyFacts, ProxyWeb, SignedIn, Verified, Wish, verified
from teleport_conch.errors import BadParameter, NotFound, TeleportError
from teleport_conch.version import VERSION, is_older

_RISK = """\
WARNING: this proxy was not verified. Whoever stands between you and it reads the password and the code that you type,
and can log in with them. The pin that 'tctl status' prints on the auth server makes it safe: --ca-pin=sha256:...
"""


def login(arguments: Namespace) -> None:
    """The command. Where somebody is logged in already, and for long enough, only that is said."""
    login_wishes.check(arguments)
    home = places.home()
    arguments.cluster = arguments.site or arguments.cluster
    if arguments.out is not None:
        _into_file(arguments, home)
        return
    profile = None if arguments.ttl else _logged_in(arguments, home)
    if profile is None:
        log_in(arguments, home)
    elif arguments.request_roles:
        _ask(arguments, home, profile)
    else:
        home.go_to(profile)
    status.show(home, time.time())


def _logged_in(arguments: Namespace, home: Home) -> Profile | None:
    """The login that is meant, if there is one that is good still."""
    try:
        profile = places.chosen_profile(arguments, home)
        return None if home.login(profile).expired_at(time.time()) else profile
    except TeleportError:
        return None


def _into_file(arguments: Namespace, home: Home) -> None:
    """A login of its own, beside the one that is kept: nothing of it is anywhere but in the file."""
    form = arguments.form or "file"
    check_free(arguments.out, form, arguments.overwrite)
    found = log_in(arguments, home, keep=lambda _: None)
    answer = written(arguments.out, found.identity.files(form), arguments.overwrite)
    answer.write_files()
    print(answer.text(), end="")


def log_in(
    arguments: Namespace, home: Home, ask: Ask = ask_secret, keep: Callable[[Login], None] | None = None
) -> Login:
    """Logs in, and keeps what that gives; a running ssh-agent gets it, too.

    :param keep: what is done with it in place of that.
    :raises TeleportError: why not.
    """
    from twisted.internet import reactor

    begin_log(*([observer(sys.stderr, "debug")] if arguments.debug else []))
    proxy, user = _whereto(arguments, home)
    keep = keep or partial(_keep, arguments, home)
    work = _LoggingIn(cast(IReactorTime, reactor), arguments, home, proxy, user, ask, keep)
    return run_to_end(cast(IReactorCore, reactor), work.run)


def _ask(arguments: Namespace, home: Home, profile: Profile) -> None:
    """Roles for somebody who is logged in; what they have already stays as it is until these are approved."""
    from twisted.internet import reactor

    begin_log(*([observer(sys.stderr, "debug")] if arguments.debug else []))
    login = home.login(profile)

    async def work() -> None:
        _keep(arguments, home, await requesting.ask(cast(IReactorTime, reactor), login, _asking(arguments)))

    run_to_end(cast(IReactorCore, reactor), work)


def _asking(arguments: Namespace) -> Asking:
    return Asking(getattr(arguments, "request_roles", ()), getattr(arguments, "request_reason", ""))


def _keep(arguments: Namespace, home: Home, found: Login) -> None:
    home.save(found, for_tsh(home, found.profile, openssh.find("ssh") or "ssh"))
    if login_wishes.uses_agent(arguments):
        agent.renew(found)


def _whereto(arguments: Namespace, home: Home) -> tuple[ProxyAddress, str]:
    """The proxy and the user: what was typed, and for what was not, as the last time."""
    try:
        known: Profile | None = home.profile(parse_proxy(arguments.proxy).host if arguments.proxy else "")
    except NotFound:
        known = None
    if not arguments.proxy and known is None:
        raise BadParameter("Say where to log in: tsh login --proxy=proxy.example.com --user=NAME")
    user = arguments.user or (known.user if known else getpass.getuser())
    typed = parse_proxy(arguments.proxy) if arguments.proxy else None
    if known is None or (typed and (typed.web_port or typed.ssh_port)):
        assert typed is not None
        return typed, user
    web, ssh = (parse_proxy(each) for each in (known.web_proxy_addr, known.ssh_proxy_addr))
    return ProxyAddress(web.host, web.web_port, ssh.web_port if ssh.host == web.host else 0), user


def _check_version(facts: ProxyFacts, arguments: Namespace) -> None:
    """Before anything is asked: what the proxy does not speak with any more fails later, and less clearly.

    :raises BadParameter: this program is too old for the cluster.
    """
    least = facts.min_client_version
    if is_older(VERSION, least) and not arguments.skip_version_check:
        raise BadParameter(
            f"This tsh is of version {VERSION}, and the cluster {facts.cluster_name} wants {inert(least)} or newer."
            " Install a newer one, or try it with --skip-version-check."
        )


class _LoggingIn:
    """One login, step by step."""

    def __init__(
        self,
        reactor: IReactorTime,
        arguments: Namespace,
        home: Home,
        proxy: ProxyAddress,
        user: str,
        ask: Ask,
        keep: Callable[[Login], None],
    ) -> None:
        self._reactor = reactor
        self._arguments = arguments
        self._home = home
        self._proxy = proxy
        self._user = user
        self._ask = ask
        self._keep = keep

    async def run(self) -> Login:
        """Verifies the proxy, asks the person, and asks the proxy; then for roles, if some are due.

        What there is without these is kept before anybody is waited for.
        """
        arguments, address = self._arguments, self._proxy.web
        with progress(f"Connecting to {address} ..."):
            known = self._home.trusted(self._proxy.host)
            proxy = await verified(self._reactor, address, arguments.ca_pin, known, arguments.insecure)
        if not proxy.is_verified:
            sys.stderr.write(_RISK)
        _check_version(proxy.facts, arguments)
        if arguments.cluster not in ("", proxy.facts.cluster_name):
            other = arguments.cluster[:64]
            raise NotFound(f"{address} leads to {proxy.facts.cluster_name}, and to no cluster {other!a}.")
        given = credentials(self._user, proxy.facts.second_factor, getattr(arguments, "recovery", False), self._ask)
        key = keys.generate_tls_key()
        line, pem = keys.public_line(keys.public_blob(key.public_key())), keys.public_pem(key.public_key())
        wish = Wish(self._user, line, pem, arguments.ttl)
        web = ProxyWeb(self._reactor, address, proxy.policy)
        try:
            with progress("Logging in ..."):
                signed = await web.log_in(wish, given)
        finally:
            await web.close()
        wanted = _asking(arguments).by(signed.request_access, signed.request_prompt)
        found = self._login(proxy, signed, keys.private_pem(key))
        self._keep(found)
        if wanted.roles:
            found = await requesting.ask(self._reactor, found, wanted)
            self._keep(found)
        return found

    def _login(self, proxy: Verified, signed: SignedIn, private_key: str) -> Login:
        facts = proxy.facts
        identity = UserIdentity(
            name=signed.user,
            cluster_name=facts.cluster_name,
            key=private_key,
            ssh_certificate=signed.ssh_certificate,
            tls_certificate=signed.tls_certificate,
            authorities=signed.authorities,
        )
        return Login(self._profile(facts), identity)

    def _profile(self, facts: ProxyFacts) -> Profile:
        return Profile(
            proxy_host=self._proxy.host,
            web_proxy_addr=self._proxy.web,
            ssh_proxy_addr=self._proxy.ssh(facts.ssh_public_addr, facts.ssh_listen_addr),
            user=self._user,
            cluster=facts.cluster_name,
        )
