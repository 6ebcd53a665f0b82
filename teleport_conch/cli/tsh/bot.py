"""``tsh bot``: certificates of a robot, kept fresh in a folder.

Each pair of certificates is renewed when half of its time is over, and again a little later where that failed. A
renewal that auth refuses ends the program: nothing that it could do by itself would help.
"""

from __future__ import annotations

import random
import sys
import time
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import cast

from attrs import define, field, frozen
from twisted.internet.interfaces import IReactorCore, IReactorTime
from twisted.internet.task import deferLater

from teleport_conch.certs import keys
from teleport_conch.certs.certificate import BACKDATED_S
from teleport_conch.certs.identity import UserIdentity
from teleport_conch.cli.logs import begin_log, observer
from teleport_conch.cli.running import run_to_end
from teleport_conch.cli.tsh.bot_folder import BotFolder
from teleport_conch.cli.tsh.places import ProxyAddress, parse_proxy
from teleport_conch.client import private_files
from teleport_conch.client.api import AuthClient
from teleport_conch.client.backoff import Backoff, Jitter, spread
from teleport_conch.client.bots import Renewed
from teleport_conch.client.people import LoggedIn
from teleport_conch.client.profiles import Login, Profile
from teleport_conch.client.tls import ServerPolicy, client_options
from teleport_conch.client.web import ProxyFacts, ProxyWeb, Verified, verified
from teleport_conch.errors import BadParameter, CertificateExpired, ConnectionProblem, LimitExceeded, TeleportError

FIRST_RETRY_S = 2.0
MOST_RETRY_S = 300.0
LEAST_WAIT_S = 5.0
"""Between two renewals, also where a wrong clock has it that the next one is due already."""
JITTER = 0.1
"""Share of a wait by which it may be longer or shorter."""
_MAY_PASS = (ConnectionProblem, LimitExceeded)
_RISK = (
    "WARNING: this proxy was not verified. Whoever stands in between reads the token, and can be this robot. The pin"
    " that 'tctl status' prints on the auth server makes it safe: --ca-pin=sha256:..."
)


def bot(arguments: Namespace) -> None:
    """The command."""
    from twisted.internet import reactor

    begin_log(*([observer(sys.stderr, "debug")] if arguments.debug else []))
    folder, clock = BotFolder(Path(arguments.out)), cast(IReactorTime, reactor)
    with folder.locked():
        proxy = _proxy(arguments, folder)
        joining = Joining(clock, proxy, arguments.ca_pin, arguments.token_file, arguments.insecure)
        keeping = Keeping(clock, folder, joining, spread(random.random, JITTER), time.time)
        run_to_end(cast(IReactorCore, reactor), keeping.once if arguments.once else keeping.forever)


def _proxy(arguments: Namespace, folder: BotFolder) -> ProxyAddress:
    if arguments.proxy:
        return parse_proxy(arguments.proxy)
    login = folder.login()
    if login is None:
        raise BadParameter("Say where to join: tsh bot --proxy=proxy.example.com --token-file=FILE --out=FOLDER")
    return parse_proxy(login.profile.web_proxy_addr)


@frozen
class Joining:
    """How a robot comes by its first certificates."""

    _clock: IReactorTime
    _proxy: ProxyAddress
    _pin: str
    _token_file: Path | None
    _insecure: bool

    async def join(self, key: str) -> tuple[Login, int]:
        """:raises TeleportError: why not."""
        if self._token_file is None:
            raise BadParameter("This robot has no certificates yet: give its token with --token-file=FILE.")
        token = (private_files.read(self._token_file) or "").strip()
        if not token:
            raise BadParameter(f"There is no token in {self._token_file}.")
        proxy = await verified(self._clock, self._proxy.web, self._pin, insecure=self._insecure)
        if not proxy.is_verified:
            _say(_RISK)
        authorities = await self._authorities(proxy)
        auth = AuthClient(self._clock, [self._proxy.web], ServerPolicy(authorities))
        try:
            renewed = await auth.bots.join(token, *_public(key))
        finally:
            await auth.close()
        return Login(self._profile(proxy.facts, renewed.login), identity(key, renewed)), renewed.generation

    async def _authorities(self, proxy: Verified) -> tuple[str, ...]:
        if isinstance(proxy.policy, ServerPolicy):
            return proxy.policy.authorities
        web = ProxyWeb(self._clock, self._proxy.web, proxy.policy)
        try:
            return await web.cacert()
        finally:
            await web.close()

    def _profile(self, facts: ProxyFacts, given: LoggedIn) -> Profile:
        ssh = self._proxy.ssh(facts.ssh_public_addr, facts.ssh_listen_addr)
        return Profile(self._proxy.host, self._proxy.web, ssh, given.user, facts.cluster_name)


def identity(key: str, renewed: Renewed) -> UserIdentity:
    """What a robot is after a renewal, with the private key for which it was."""
    given = renewed.login.certificates
    cluster = next(each.cluster_name for each in given.authorities)
    return UserIdentity(
        renewed.login.user, cluster, key, given.ssh_certificate, given.tls_certificate, given.authorities
    )


def _public(key: str) -> tuple[str, str]:
    public = keys.load_private_pem(key).public_key()
    return keys.public_line(keys.public_blob(public)), keys.public_pem(public)


@define
class Keeping:
    """Renews, and waits.

    :ivar _now: POSIX seconds.
    """

    _clock: IReactorTime
    _folder: BotFolder
    _joining: Joining
    _jitter: Jitter
    _now: Callable[[], float]
    _backoff: Backoff = field(init=False)

    @_backoff.default
    def _make_backoff(self) -> Backoff:
        return Backoff(FIRST_RETRY_S, MOST_RETRY_S, self._jitter)

    async def once(self) -> None:
        """Renews if that is due, for a timer."""
        if self._due_s() <= 0:
            await self._renew()

    async def forever(self) -> None:
        """Renews each time that it is due, until auth refuses, or nothing is left to renew with."""
        while True:
            await deferLater(self._clock, max(0.0, self._due_s()))
            try:
                await self._renew()
                self._backoff.reset()
                await deferLater(self._clock, LEAST_WAIT_S)
            except _MAY_PASS as problem:
                await self._wait_after(problem)

    async def _wait_after(self, problem: TeleportError) -> None:
        if self._folder.login() is None:
            raise problem
        wait_s = self._backoff.next_s()
        _say(f"Not renewed, and tried again in {wait_s:.0f} s: {problem.sentence}")
        await deferLater(self._clock, wait_s)

    def _due_s(self) -> float:
        """Seconds until half of the time of the certificates is over, about."""
        login = self._folder.login()
        if login is None:
            return 0.0
        issued, end = login.certificate.valid_after + BACKDATED_S, login.identity.not_after
        return self._jitter((end - issued) / 2) - (self._now() - issued)

    async def _renew(self) -> None:
        login, key = self._folder.login(), self._folder.next_key()
        fresh, generation = await (self._joining.join(key) if login is None else self._again(login, key))
        self._folder.keep(fresh, generation)
        _say(f"{fresh.profile.user} has certificates of generation {generation}.")

    async def _again(self, login: Login, key: str) -> tuple[Login, int]:
        if login.expired_at(self._now()):
            raise CertificateExpired(
                "The certificates of this robot ended before they were renewed. Make a new one with 'tctl bots add',"
                f" and start it with the new token, and an empty folder in place of {self._folder.path}."
            )
        auth = AuthClient(self._clock, [login.profile.web_proxy_addr], client_options(login.identity))
        try:
            renewed = await auth.bots.renew(*_public(key))
        finally:
            await auth.close()
        return Login(login.profile, identity(key, renewed)), renewed.generation


def _say(sentence: str) -> None:
    sys.stderr.write(f"{sentence}\n")
    sys.stderr.flush()
