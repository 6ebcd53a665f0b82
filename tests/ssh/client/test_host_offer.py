"""A server's proof that the key which it shows is its own."""

from __future__ import annotations

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch import wire
from teleport_conch.certs import keys
from teleport_conch.ssh.client.host_offer import (
    CERTIFICATE_ALGORITHMS,
    PLAIN_ALGORITHMS,
    HostKeyOffer,
    HostKeyRefused,
    HostName,
    check_signature,
)
from tests.certs import samples
from tests.ssh.hosts import CERTIFIED, ECDSA_BLOB, ED25519, OTHER_BLOB, certified_offer, offer

HASH = b"h" * 32
GOOD = wire.text("ssh-ed25519") + wire.string(samples.SSH_KEY.sign(HASH))


def rsa_signature(algorithm: str, hash_: hashes.HashAlgorithm) -> bytes:
    return wire.text(algorithm) + wire.string(samples.rsa_key().sign(HASH, padding.PKCS1v15(), hash_))


class ProofTests(SynchronousTestCase):
    def assert_refused(self, shown: HostKeyOffer, signature: bytes, sentence: str) -> None:
        error = self.assertRaises(HostKeyRefused, check_signature, shown, signature, HASH)
        self.assertEqual(error.sentence, sentence)

    def test_names(self) -> None:
        """Certificates and keys of each type, and nothing with SHA-1."""
        self.assertEqual(PLAIN_ALGORITHMS[-2:], (b"rsa-sha2-512", b"rsa-sha2-256"))
        self.assertEqual((len(PLAIN_ALGORITHMS), len(CERTIFICATE_ALGORITHMS)), (6, 6))
        self.assertIn(b"rsa-sha2-512-cert-v01@openssh.com", CERTIFICATE_ALGORITHMS)
        self.assertNotIn(b"ssh-rsa", PLAIN_ALGORITHMS + CERTIFICATE_ALGORITHMS)

    def test_good(self) -> None:
        """Each type of key proves itself, plain and certified."""
        check_signature(offer(), GOOD, HASH)
        check_signature(certified_offer(), GOOD, HASH)
        rsa = samples.rsa_blob(samples.rsa_key())
        for algorithm, hash_ in (("rsa-sha2-512", hashes.SHA512()), ("rsa-sha2-256", hashes.SHA256())):
            shown = HostKeyOffer(HostName("web1"), algorithm.encode(), rsa)
            check_signature(shown, rsa_signature(algorithm, hash_), HASH)
        r, s = decode_dss_signature(samples.ecdsa_key(256).sign(HASH, ec.ECDSA(hashes.SHA256())))
        shown = HostKeyOffer(HostName("web1"), b"ecdsa-sha2-nistp256", ECDSA_BLOB)
        check_signature(shown, samples.ecdsa_blob(256, r, s), HASH)

    def test_another_key(self) -> None:
        """A key that did not sign is not the server's, and neither is a certificate over one."""
        sentence = "web1 does not prove that the host key is its own: it does not fit the key."
        self.assert_refused(HostKeyOffer(HostName("web1"), ED25519, OTHER_BLOB), GOOD, sentence)
        other = samples.host_certificate(public_key=OTHER_BLOB)
        self.assert_refused(certified_offer(certificate=other), GOOD, sentence)
        self.assert_refused(offer(), wire.text("ssh-ed25519") + wire.string(bytes(64)), sentence)

    def test_another_algorithm(self) -> None:
        """The key and the signature have to be of the algorithm that was agreed upon, SHA-1 is of none."""
        start = "web1 does not prove that the host key is its own: "
        self.assert_refused(
            HostKeyOffer(HostName("web1"), b"ecdsa-sha2-nistp256", samples.SSH_BLOB),
            GOOD,
            f"{start}a key of the type 'ssh-ed25519', where ecdsa-sha2-nistp256 was agreed upon.",
        )
        shown = HostKeyOffer(HostName("web1"), b"rsa-sha2-512", samples.rsa_blob(samples.rsa_key()))
        for algorithm, hash_ in (("rsa-sha2-256", hashes.SHA256()), ("ssh-rsa", hashes.SHA1())):  # noqa: S303
            self.assert_refused(
                shown,
                rsa_signature(algorithm, hash_),
                f"{start}it signs with '{algorithm}', where rsa-sha2-512 was agreed upon.",
            )

    def test_a_certificate_for_a_key(self) -> None:
        """A plain key where a certificate was agreed upon, and a certificate where a key was."""
        shown = HostKeyOffer(HostName("web1"), CERTIFIED, samples.SSH_BLOB)
        self.assert_refused(
            shown,
            GOOD,
            "The host certificate of web1 is refused: The certificate is for a key that is not accepted: "
            "'ssh-ed25519' is not a type of certificate that is supported.",
        )
        shown = HostKeyOffer(HostName("web1"), ED25519, samples.host_certificate().to_blob())
        self.assert_refused(
            shown,
            GOOD,
            "web1 does not prove that the host key is its own: a key of the type "
            "'ssh-ed25519-cert-v01@openssh.com', which is not accepted.",
        )

    def test_malformed(self) -> None:
        """Bytes that are no signature, or go on behind one."""
        for signature in (b"", GOOD[:-1], GOOD + b"\0"):
            self.assertRaises(HostKeyRefused, check_signature, offer(), signature, HASH)

    def test_fingerprint(self) -> None:
        """A certificate's fingerprint is that of its key, as ssh-keygen prints it."""
        self.assertEqual(offer().fingerprint, keys.fingerprint(samples.SSH_BLOB))
        self.assertEqual(certified_offer().fingerprint, offer().fingerprint)
