"""Threats to a client of ours, each on its whole transport: servers that are not who they should be."""

from __future__ import annotations

from functools import partial

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol

from teleport_conch.certs import keys
from teleport_conch.certs.certificate import option
from teleport_conch.errors import ConnectionProblem
from teleport_conch.ssh.client.host_offer import HostKeyRefused
from teleport_conch.ssh.client.known_hosts import (
    HostKeyChanged,
    HostKeyRevoked,
    HostKeyUnknown,
    KnownHosts,
    KnownHostsVerifier,
)
from teleport_conch.ssh.connection.channel import Channel, ChannelRefused
from teleport_conch.ssh.transport.hostkeys import host_keys
from teleport_conch.ssh.transport.server_exchange import ServerExchange
from tests.certs import samples
from tests.ssh.client_pair import KNOWN, NAME, ClientCase, EchoChannel, client_options
from tests.ssh.hosts import CA_BLOB, NOW, OTHER_BLOB, line


class T57HostCertificates(ClientCase):
    """Threat 57: a refused host certificate ends the connection, although its plain key is known."""

    def test_refused(self) -> None:
        """Its time is over, or it is another host's."""
        own = line("[web1]:3022")
        for name, now, why in (
            ("web1", NOW + 1e6, "seconds ago; get a new one, or compare the clocks."),
            ("web2", NOW, "The certificate is not for 'web2'."),
        ):
            verifier = KnownHostsVerifier(KnownHosts.parse(KNOWN + own + line("[web2]:3022")), partial(float, now))
            options = evolve(client_options(), hosts=verifier, name=evolve(NAME, host=name))
            dialled = self.dial(options)
            self.pump()
            sentence = self.problem_of(dialled, HostKeyRefused)
            self.assertIn(f"The host certificate of [{name}]:3022 is refused: ", sentence)
            self.assertIn(why, sentence)
            self.assertEqual(self.policy.checked, [])

    def test_what_no_host_may_show(self) -> None:
        """One for nobody (threat 40), a user's, one that a user's authority signed (42), one with a command."""
        by_users = samples.USER_CA.ssh_keys[0].sign(samples.host_certificate())
        (users,) = samples.USER_CA.public().ssh_keys
        for certificate, why in (
            (
                samples.host_certificate(principals=()),
                "The certificate has no principals, so that it is good for",
            ),
            (
                samples.user_certificate(principals=("web1",)),
                "A host certificate is due, and this is a user certi",
            ),
            (by_users, "is signed by an authority that is not trusted here."),
            (
                samples.host_certificate(critical_options=(option("force-command", "date"),)),
                "The certificate has the critical option 'force-command', which is not known here.",
            ),
        ):
            self.factory.host_keys = host_keys(keys.ssh_private_pem(samples.SSH_KEY), certificate)
            known = KNOWN + line("[web1]:3022")
            if certificate.signature_key == users and certificate is not by_users:
                known += line("*", users, "@cert-authority")
            dialled = self.dial(client_options(known=known))
            self.pump()
            self.assertIn(why, self.problem_of(dialled, HostKeyRefused))
            self.assertEqual(self.policy.checked, [])


class T17ChangedHostKey(ClientCase):
    """Threat 17: a host key that changes when keys are exchanged anew."""

    def change_key(self, certified: bool) -> None:
        """The server's exchanges go on with another key."""
        exchange = self.server._exchange
        assert isinstance(exchange, ServerExchange)
        key = keys.generate_ssh_key()
        blob = keys.public_blob(key.public_key())
        other = host_keys(keys.ssh_private_pem(key), samples.host_certificate(public_key=blob))
        exchange._host_keys = other
        self.assertEqual(certified, b"-cert-" in next(iter(other)))

    def test_refused(self) -> None:
        """Even one that is certified for the same name: the connection is ended, with code 9."""
        client = self.connected()
        self.change_key(certified=True)
        self.server._exchange.begin()
        self.pump()
        self.assertEqual(
            str(self.ending_of(client)),
            "[web1]:3022 showed another host key in the middle of the connection, which was ended. "
            "Somebody may stand between you and this host.",
        )

    def test_refused_when_we_begin(self) -> None:
        """Whoever began the exchange."""
        client = self.connected()
        self.change_key(certified=True)
        self.wire.client._exchange.begin()
        self.pump()
        self.assertIsInstance(self.ending_of(client), HostKeyRefused)

    def test_the_same_key(self) -> None:
        """The same key goes on, and is not decided about again: its certificate may have ended meanwhile."""
        now = [NOW]
        verifier = KnownHostsVerifier(KnownHosts.parse(KNOWN), lambda: now[0])
        self.serve(b"session", EchoChannel)
        client = self.connected(evolve(client_options(), hosts=verifier))
        now[0] += 1e6
        for side in (self.server, self.wire.client):
            side._exchange.begin()
            self.pump()
            running = Deferred.fromCoroutine(client.run("x", b"data"))
            self.pump()
            self.assertEqual(self.successResultOf(running).out, b"data")


class T106KeysOfAnotherHop(ClientCase):
    """Threat 106: the key that is known for one host, or one port of it, is shown by another."""

    def test_refused(self) -> None:
        """Nothing is known of the host on this port, whatever is known of its others."""
        for known in (line("web1"), line("[web1]:3023"), line("[jump]:3022")):
            dialled = self.dial(client_options(known=known))
            self.pump()
            self.assertIn("No host key is known for [web1]:3022, ", self.problem_of(dialled, HostKeyUnknown))
            self.assertEqual(self.policy.checked, [])


class T110ChangedHosts(ClientCase):
    """Threat 110: a changed key, a revoked one, another authority's, another type: refused, and nobody is asked."""

    def test_refused(self) -> None:
        """No login is tried with any of them."""
        own = line("[web1]:3022")
        ecdsa = keys.public_blob(samples.ecdsa_key(256).public_key())
        for known, kind, why in (
            (line("[web1]:3022", OTHER_BLOB), HostKeyChanged, "The host key of [web1]:3022 has changed: "),
            (line("[web1]:3022", ecdsa), HostKeyChanged, "has changed: known is ecdsa-sha2-nistp256 "),
            (own + line("web1", marker="@revoked"), HostKeyRevoked, "shows a key that is revoked"),
            (KNOWN + line("*", marker="@revoked"), HostKeyRevoked, "shows a key that is revoked"),
            (KNOWN + line("*", CA_BLOB, "@revoked"), HostKeyRevoked, "or is certified by one"),
            (line("*", OTHER_BLOB, "@cert-authority"), HostKeyRefused, "an authority that is not trusted here."),
            (own + "@revoked * ssh-ed25519 !", HostKeyRefused, "revokes a key and cannot be read"),
        ):
            dialled = self.dial(client_options(known=known))
            self.pump()
            self.assertIn(why, self.problem_of(dialled, kind))
            self.assertEqual(self.policy.checked, [])


class T111TextOfTheServer(ClientCase):
    """Threat 111: what a server says reaches the terminal of a person without what would move its cursor."""

    def test_banner(self) -> None:
        """Before the login."""
        banners: list[str] = []
        self.policy.banner = "\x1b]52;c;cm0gLXJm\x07Authorised people only.\x1b[2J"
        self.connected(client_options(banner=banners.append))
        self.assertEqual("".join(banners).strip(), "]52;c;cm0gLXJmAuthorised people only.[2J")

    def test_goodbye(self) -> None:
        """And in the end."""
        client = self.connected()
        self.server.sendDisconnect(11, b"\x1b]0;owned\x07bye\x9b")
        self.pump()
        self.assertEqual(str(self.ending_of(client)), "[web1]:3022 ended the connection: ]0;ownedbye\ufffd.")

    def test_refused_channel(self) -> None:
        """And where it opens no channel."""
        self.serve(b"direct-tcpip", refuse)
        dialled = self.connected().to("db1", 5432).connect(Factory.forProtocol(Protocol))
        self.pump()
        self.assertEqual(
            str(self.failureResultOf(dialled, ConnectionProblem).value),
            "db1:5432 cannot be reached through the host in between: [31mno",
        )


def refuse() -> Channel:
    raise ChannelRefused(2, "\x1b[31mno\x07")
