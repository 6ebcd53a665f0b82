"""Host keys with certificates, as a client checks them."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric import ed25519
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch import wire
from teleport_conch.certs import keys, public_key
from teleport_conch.certs.certificate import SSHCertificate
from teleport_conch.certs.signatures import Signature, verify
from teleport_conch.ssh.transport.algorithms import (
    ED25519,
    ED25519_CERTIFICATE,
    PLAIN_SIGNATURES,
    SIGNATURES_BY_ALGORITHM,
    server_sig_algs,
)
from teleport_conch.ssh.transport.hostkeys import host_keys
from teleport_conch.ssh.transport.kex import Transcript
from tests.certs import samples

PEM = keys.ssh_private_pem(samples.SSH_KEY)


class HostKeyTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.certificate = samples.host_certificate()
        self.keys = host_keys(PEM, self.certificate)

    def test_both(self) -> None:
        """The certified key is wanted most, the plain one serves clients that know no authority."""
        self.assertEqual(list(self.keys), [ED25519_CERTIFICATE, ED25519])
        self.assertEqual([key.algorithm for key in self.keys.values()], [ED25519_CERTIFICATE, ED25519])
        self.assertEqual(SSHCertificate.parse(self.keys[ED25519_CERTIFICATE].blob), self.certificate)
        self.assertEqual(self.keys[ED25519].blob, samples.SSH_BLOB)

    def test_signs_as_the_plain_key(self) -> None:
        """The signature is the plain key's, whatever algorithm was negotiated (PROTOCOL.certkeys)."""
        for key in self.keys.values():
            transcript = Transcript(b"curve25519-sha256", *([b""] * 8))
            for signing, signed in (
                (key.sign(transcript), transcript.digest),
                (
                    key.prove(b"session"),
                    b"\0\0\0\x1dhostkeys-prove-00@openssh.com\0\0\0\7session" + wire.string(key.blob),
                ),
            ):
                signature = Signature.parse(self.successResultOf(Deferred.fromCoroutine(signing)))
                self.assertEqual(signature.algorithm, "ssh-ed25519")
                verify(public_key.parse(self.certificate.public_key), signature, signed)

    def test_another_key(self) -> None:
        """A certificate for another key is a mistake that is found at once."""
        other = keys.ssh_private_pem(ed25519.Ed25519PrivateKey.generate())
        mistake = self.assertRaises(ValueError, host_keys, other, self.certificate)
        self.assertEqual(str(mistake), "the certificate is for another key")

    def test_another_kind(self) -> None:
        """So is a key of another kind."""
        other = keys.ssh_private_pem(samples.ecdsa_key(256))
        mistake = self.assertRaises(ValueError, host_keys, other, self.certificate)
        self.assertEqual(str(mistake), "a host key has to be an Ed25519 key")

    def test_not_shown(self) -> None:
        """The private half is not to be seen in a log."""
        self.assertNotIn("_key", repr(self.keys[ED25519]))


class AlgorithmTests(SynchronousTestCase):
    def test_signatures(self) -> None:
        """One signature for each kind of certificate, and SHA-1 is none of them."""
        self.assertNotIn("ssh-rsa", SIGNATURES_BY_ALGORITHM.values())
        self.assertTrue(all(b"-cert-v01@openssh.com" in name for name in SIGNATURES_BY_ALGORITHM))

    def test_told(self) -> None:
        """Clients look for plain names before they use an RSA certificate (RFC 8332, section 3.3)."""
        self.assertLessEqual({b"rsa-sha2-256", b"rsa-sha2-512"}, set(PLAIN_SIGNATURES))
        self.assertEqual(len(server_sig_algs().split(b",")), len(set(server_sig_algs().split(b","))))
