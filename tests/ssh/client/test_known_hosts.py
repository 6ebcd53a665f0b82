"""known_hosts: its lines, and what follows from them for the key or certificate that a host shows."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.certs import keys
from teleport_conch.ssh.client.host_offer import (
    CERTIFICATE_ALGORITHMS,
    PLAIN_ALGORITHMS,
    HostKeyOffer,
    HostKeyRefused,
    HostName,
)
from teleport_conch.ssh.client.known_hosts import HostKeyUnknown, KnownHosts, KnownHostsVerifier, line_for
from tests.certs import samples
from tests.ssh.hosts import (
    CA_BLOB,
    CERTIFIED,
    ECDSA_BLOB,
    ED25519,
    NOW,
    OTHER_BLOB,
    certified_offer,
    line,
    offer,
    refusal,
)


class NameTests(SynchronousTestCase):
    def assert_known(self, names: str, host: str, port: int = 22) -> None:
        KnownHosts.parse(line(names)).check(offer(host, port), NOW)

    def assert_unknown(self, names: str, host: str, port: int = 22) -> None:
        known = KnownHosts.parse(line(names))
        self.assertRaises(HostKeyUnknown, known.check, offer(host, port), NOW)

    def test_names(self) -> None:
        """A line is about the names that its patterns match, in small or capital letters."""
        for names, host, port in (
            ("web1", "web1", 22),
            ("web1", "WEB1", 22),
            ("WEB1", "web1", 22),
            ("web1,10.0.0.5", "10.0.0.5", 22),
            ("web*", "web1.example", 22),
            ("web?", "web1", 22),
            ("*,!db*", "web1", 22),
            ("[web1]:2222", "web1", 2222),
            ("[*]:2222", "web1", 2222),
            ("[web1]:*", "web1", 2222),
            ("::1", "::1", 22),
            ("[::1]:2222", "::1", 2222),
        ):
            self.assert_known(names, host, port)

    def test_other_names(self) -> None:
        """It is about no other, and one negated pattern that matches takes the whole line away."""
        for names, host, port in (
            ("web1", "web2", 22),
            ("web?", "web12", 22),
            ("web1", "web1.example", 22),
            ("!web1,*", "web1", 22),
            ("*,!WEB1", "web1", 22),
            ("!web2", "web1", 22),
            ("[web1]", "w", 22),
            ("[web1]:2222", "web1", 2223),
            ("", "web1", 22),
        ):
            self.assert_unknown(names, host, port)

    def test_hashed(self) -> None:
        """A hashed line is about the one name that was hashed; another, or a broken hash, is nobody's."""
        salt = bytes(range(20))
        hashed, rest = line_for(offer("web1", 2222), salt).split(" ", 1)
        self.assertTrue(hashed.startswith("|1|AAECAwQFBgcICQoLDA0ODxAREhM=|"))
        KnownHosts.parse(f"{hashed} {rest}").check(offer("WEB1", 2222), NOW)
        self.assert_unknown(hashed, "web1", 22)
        self.assert_unknown(hashed, "web2", 2222)
        for broken in ("|1|", "|1|AAAA|AAAA", "|1|!!|!!", hashed[:-4], f"|2|{hashed[3:]}"):
            self.assert_unknown(broken, "web1", 2222)

    def test_lines(self) -> None:
        """Comments, empty lines, tabs and carriage returns are what they are elsewhere; other markers say nothing."""
        text = f"# web1 {line('web1')}\n\n  \n\tweb1\t{line('').strip()} a comment\r\n"
        KnownHosts.parse(text).check(offer(), NOW)
        for says_nothing in (f"# {line('web1')}", f"@trusted {line('web1')}", f"@{line('web1')}"):
            self.assertRaises(HostKeyUnknown, KnownHosts.parse(says_nothing).check, offer(), NOW)

    def test_remembered(self) -> None:
        """A line that was made for an offer makes it known, and under no other port."""
        for salt in (None, bytes(20)):
            known = KnownHosts.parse(line_for(offer("web1", 3022), salt))
            known.check(offer("web1", 3022), NOW)
            self.assertRaises(HostKeyUnknown, known.check, offer("web1", 3023), NOW)
        self.assertEqual(line_for(offer("web1", 3022)), f"[web1]:3022 {keys.public_line(samples.SSH_BLOB)}")

    def test_a_long_name(self) -> None:
        """A name that is too long for any host is known by no pattern."""
        self.assert_unknown("*", "w" * 256)


class RefusalTests(SynchronousTestCase):
    def assert_refused(self, text: str, shown: HostKeyOffer, sentence: str) -> None:
        self.assertIn(sentence, refusal(self, text, shown))

    def test_unknown(self) -> None:
        """Who is known by no line is shown with a fingerprint that can be compared."""
        error = self.assertRaises(HostKeyUnknown, KnownHosts.parse("").check, offer(port=3022), NOW)
        fingerprint = keys.fingerprint(samples.SSH_BLOB)
        self.assertEqual(
            error.sentence,
            f"No host key is known for [web1]:3022, which shows ssh-ed25519 {fingerprint}. Compare this with what "
            "whoever runs the host says.",
        )
        self.assertEqual(error.facts, {"fingerprint": fingerprint})

    def test_lines_that_cannot_be_used(self) -> None:
        """Where a line for the host makes no sense, the sentence says which, and why."""
        for rest, why in (
            ("ssh-ed25519", "not one line with a type and a key"),
            ("ssh-ed25519 !!!", "a line whose second word is not base64"),
            (line("").strip().replace("ssh-ed25519", "ssh-rsa", 1), "a line whose second word is another type than"),
            (f"restrict {line('').strip()}", "a line whose second word is not base64"),
            (samples.host_certificate().to_line(), "which is not accepted"),
        ):
            self.assert_refused(f"\nweb1 {rest}", offer(), "Line 2 of known_hosts is about it, and cannot be used: ")
            self.assert_refused(f"\nweb1 {rest}", offer(), why)

    def test_too_long(self) -> None:
        """A file that is too long for its kind is not read."""
        error = self.assertRaises(HostKeyRefused, KnownHosts.parse, "\n" * ((16 << 20) + 1))
        self.assertEqual(error.sentence, "known_hosts has more than 16777216 characters, which is the limit.")

    @given(st.text(max_size=200))
    def test_any_text(self, text: str) -> None:
        """Whatever a file holds, a host whose key is not in it is refused in one of our ways."""
        refusal(self, text, offer())
        refusal(self, f"@cert-authority {text}\n@revoked {text}", certified_offer())


class AuthorityTests(SynchronousTestCase):
    def test_believed(self) -> None:
        """An authority's line makes its certificates believed for the names that it matches, on any port."""
        for names, port in (("web1", 22), ("*", 22), ("web1", 3022), ("[web1]:3022", 3022), ("web1,!db", 3022)):
            known = KnownHosts.parse(line(names, CA_BLOB, "@cert-authority"))
            known.check(certified_offer(port=port), NOW)

    def test_algorithms(self) -> None:
        """Certificates are asked for where an authority is known; else keys, those that are known in front."""
        host = HostName("web1", 2222)
        authority = line("web1", CA_BLOB, "@cert-authority")
        own = line("[web1]:2222", ECDSA_BLOB)
        keys_first = (b"ecdsa-sha2-nistp256", *(each for each in PLAIN_ALGORITHMS if each != b"ecdsa-sha2-nistp256"))
        self.assertEqual(KnownHosts.parse("").algorithms(host), PLAIN_ALGORITHMS)
        self.assertEqual(KnownHosts.parse(own).algorithms(host), keys_first)
        self.assertEqual(KnownHosts.parse(authority).algorithms(host), CERTIFICATE_ALGORITHMS + PLAIN_ALGORITHMS)
        self.assertEqual(KnownHosts.parse(authority + own).algorithms(host), CERTIFICATE_ALGORITHMS + keys_first)

    def test_an_rsa_key_has_two_algorithms(self) -> None:
        """A known RSA key is asked for with either hash."""
        blob = samples.rsa_blob(samples.rsa_key())
        found = KnownHosts.parse(line("web1", blob)).algorithms(HostName("web1"))
        self.assertEqual(found[:3], (b"rsa-sha2-512", b"rsa-sha2-256", b"ssh-ed25519"))

    def test_verifier(self) -> None:
        """The verifier asks known_hosts, at the time of its clock."""
        known = KnownHosts.parse(line("web1", CA_BLOB, "@cert-authority"))
        verifier = KnownHostsVerifier(known, lambda: NOW)
        self.assertEqual(verifier.algorithms(HostName("web1")), CERTIFICATE_ALGORITHMS + PLAIN_ALGORITHMS)
        self.successResultOf(Deferred.fromCoroutine(verifier.verify(certified_offer())))
        late = KnownHostsVerifier(known, lambda: NOW + 1e6)
        self.failureResultOf(Deferred.fromCoroutine(late.verify(certified_offer())), HostKeyRefused)


class T57HostCertificates(SynchronousTestCase):
    """Threat 57: a host certificate that is not believed is refused, and its plain key is not looked at instead."""

    def assert_refused(self, sentence: str, **changes: object) -> None:
        """Although the very key is known as a plain one, too."""
        text = line("web1", CA_BLOB, "@cert-authority") + line("web1", samples.SSH_BLOB)
        shown = certified_offer(certificate=samples.host_certificate(**changes))
        self.assertEqual(refusal(self, text, shown), f"The host certificate of web1 is refused: {sentence}")

    def test_principals(self) -> None:
        """Without names, or for other names."""
        self.assert_refused("The certificate has no principals, so that it is good for nobody.", principals=())
        self.assert_refused("The certificate is not for 'web1'.", principals=("web2", "*", "web*"))

    def test_options(self) -> None:
        """With a forced command, or any other critical option."""
        self.assert_refused(
            "The certificate has the critical option 'force-command', which is not known here.",
            critical_options=(("force-command", b"\0\0\0\2id"),),
        )

    def test_window(self) -> None:
        """Before and after its time."""
        self.assert_refused(
            "The certificate expired 10 seconds ago; get a new one, or compare the clocks.", valid_before=int(NOW) - 10
        )
        self.assert_refused(
            "The certificate becomes valid in 10 seconds; compare the clocks.", valid_after=int(NOW) + 10
        )

    def test_a_users_certificate(self) -> None:
        """One that speaks for a user."""
        shown = certified_offer(certificate=samples.user_certificate())
        text = line("web1", samples.SSH_BLOB)
        sentence = "A host certificate is due, and this is a user certificate."
        self.assertEqual(refusal(self, text, shown), f"The host certificate of web1 is refused: {sentence}")

    def test_another_authority(self) -> None:
        """Of an authority that is known for other hosts only."""
        text = line("db*", CA_BLOB, "@cert-authority") + line("web1", samples.SSH_BLOB)
        self.assertIn("is signed by an authority that is not trusted here.", refusal(self, text, certified_offer()))

    def test_no_certificate(self) -> None:
        """What is announced as a certificate and is none."""
        shown = HostKeyOffer(HostName("web1"), CERTIFIED, samples.SSH_BLOB)
        self.assertIn("The host certificate of web1 is refused: ", refusal(self, line("web1"), shown))


class T106KeysPerEndpoint(SynchronousTestCase):
    """Threat 106: the key of one hop, or of one port, is not that of another."""

    def test_ports(self) -> None:
        """A key that is known for a host is unknown on another port of it, in either direction."""
        for names, port in (("jump", 3022), ("[jump]:3022", 22), ("[jump]:3022", 3023)):
            sentence = refusal(self, line(names), offer("jump", port))
            self.assertIn(f"No host key is known for {HostName('jump', port)}, ", sentence)

    def test_hops(self) -> None:
        """The first hop's key in the second one's place is a changed key."""
        text = line("jump", samples.SSH_BLOB) + line("target", OTHER_BLOB)
        KnownHosts.parse(text).check(offer("jump"), NOW)
        self.assertIn("The host key of target has changed: known is ", refusal(self, text, offer("target")))


class T110ChangedKeys(SynchronousTestCase):
    """Threat 110: changed, revoked and mismatching keys are refused; there is nothing to answer yes to."""

    def test_changed(self) -> None:
        """Another key of the same type."""
        known, shown = keys.fingerprint(OTHER_BLOB), keys.fingerprint(samples.SSH_BLOB)
        self.assertEqual(
            refusal(self, "\n" + line("web1", OTHER_BLOB), offer()),
            f"The host key of web1 has changed: known is ssh-ed25519 {known} (line 2 of known_hosts), and it shows "
            f"ssh-ed25519 {shown}. Either somebody stands between you and this host, or it was set up anew: ask "
            "whoever runs it, and only then remove the line.",
        )

    def test_another_type(self) -> None:
        """A key of a type that is not known for the host, while another one is."""
        sentence = refusal(self, line("web1", ECDSA_BLOB), offer())
        self.assertIn("has changed: known is ecdsa-sha2-nistp256 SHA256:", sentence)

    def test_hashed(self) -> None:
        """A hashed line protects its host just as well."""
        text = line_for(HostKeyOffer(HostName("web1"), ED25519, OTHER_BLOB), bytes(20))
        self.assertIn("The host key of web1 has changed: ", refusal(self, text, offer()))

    def test_several_keys(self) -> None:
        """A host may have several keys, and any of them will do."""
        KnownHosts.parse(line("web1", OTHER_BLOB) + line("web1")).check(offer(), NOW)

    def test_the_wrong_authority(self) -> None:
        """A certificate of another authority, and a plain key where only an authority is known."""
        text = line("web1", OTHER_BLOB, "@cert-authority")
        self.assertIn("is signed by an authority that is not trusted here.", refusal(self, text, certified_offer()))
        self.assertIn("No host key is known for web1, ", refusal(self, text, offer()))

    def test_an_authority_is_no_host_key(self) -> None:
        """An authority's own key as the host's: it is not one that is known for the host."""
        text = line("web1", samples.SSH_BLOB, "@cert-authority")
        self.assertIn("No host key is known for web1, ", refusal(self, text, offer()))

    def test_a_host_key_is_no_authority(self) -> None:
        """A certificate signed by the known key of the host itself."""
        self.assertIn("not trusted here.", refusal(self, line("web1", CA_BLOB), certified_offer()))

    def test_revoked(self) -> None:
        """A key, a certified key, and the authority of a certificate, whatever else the file says of them."""
        both = line("web1") + line("*", CA_BLOB, "@cert-authority")
        for shown, blob in (
            (offer(), samples.SSH_BLOB),
            (certified_offer(), samples.SSH_BLOB),
            (certified_offer(), CA_BLOB),
            (offer(port=3022), samples.SSH_BLOB),
        ):
            self.assertEqual(
                refusal(self, both + line("*", blob, "@revoked"), shown),
                f"{shown.name} shows a key that is revoked, or is certified by one: ssh-ed25519 "
                f"{keys.fingerprint(blob)} (line 3 of known_hosts). Do not connect; ask whoever runs the host.",
            )

    def test_revoked_without_its_port(self) -> None:
        """What is revoked for a host is revoked on each of its ports."""
        text = line("[web1]:3022") + line("web1", marker="@revoked")
        self.assertIn("shows a key that is revoked", refusal(self, text, offer(port=3022)))

    def test_revoked_elsewhere(self) -> None:
        """What is revoked for other hosts is not for this one."""
        KnownHosts.parse(line("web1") + line("db*", marker="@revoked")).check(offer(), NOW)

    def test_a_broken_revocation(self) -> None:
        """A line of revocation that cannot be read is not passed over."""
        self.assertEqual(
            refusal(self, line("web1") + "@revoked db1 ssh-ed25519 AAA!", offer()),
            "Line 2 of known_hosts revokes a key and cannot be read: a line whose second word is not base64. "
            "Put it right first.",
        )
