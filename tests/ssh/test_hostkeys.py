"""Host keys with certificates, as a client checks them."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric import ed25519
from twisted.conch.ssh.keys import Key
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.certs import keys, public_key
from teleport_conch.certs.certificate import SSHCertificate
from teleport_conch.certs.signatures import Signature, verify
from teleport_conch.ssh.algorithms import PLAIN_SIGNATURES, SIGNATURES_BY_ALGORITHM, server_sig_algs
from teleport_conch.ssh.hostkeys import CertifiedKey, host_keys
from tests.certs import samples

PEM = keys.ssh_private_pem(samples.SSH_KEY)


class CertifiedKeyTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.certificate = samples.host_certificate()
        self.key = CertifiedKey.of(Key.fromString(PEM.encode()), self.certificate)

    def test_presents_the_certificate(self) -> None:
        """What stands for the public key is the certificate, and its name is that of the certificate's kind."""
        self.assertEqual(SSHCertificate.parse(self.key.blob()), self.certificate)
        self.assertEqual(self.key.sshType(), b"ssh-ed25519-cert-v01@openssh.com")

    def test_signs_as_the_plain_key(self) -> None:
        """The signature is the plain key's, whatever algorithm was negotiated (PROTOCOL.certkeys)."""
        signature = Signature.parse(self.key.sign(b"hash", b"ssh-ed25519-cert-v01@openssh.com"))
        self.assertEqual(signature.algorithm, "ssh-ed25519")
        verify(public_key.parse(self.certificate.public_key), signature, b"hash")

    def test_another_key(self) -> None:
        """A certificate for another key is a mistake that is found at once."""
        other = keys.ssh_private_pem(ed25519.Ed25519PrivateKey.generate())
        mistake = self.assertRaises(ValueError, host_keys, other, self.certificate)
        self.assertEqual(str(mistake), "the certificate is for another key")

    def test_both(self) -> None:
        """The certified key is wanted most, the plain one serves clients that know no authority."""
        offered = host_keys(PEM, self.certificate)
        self.assertEqual(list(offered), [b"ssh-ed25519-cert-v01@openssh.com", b"ssh-ed25519"])
        self.assertEqual(offered[b"ssh-ed25519"].blob(), samples.SSH_BLOB)


class AlgorithmTests(SynchronousTestCase):
    def test_signatures(self) -> None:
        """One signature for each kind of certificate, and SHA-1 is none of them."""
        self.assertNotIn("ssh-rsa", SIGNATURES_BY_ALGORITHM.values())
        self.assertTrue(all(b"-cert-v01@openssh.com" in name for name in SIGNATURES_BY_ALGORITHM))

    def test_told(self) -> None:
        """Clients look for plain names before they use an RSA certificate (RFC 8332, section 3.3)."""
        self.assertLessEqual({b"rsa-sha2-256", b"rsa-sha2-512"}, set(PLAIN_SIGNATURES))
        self.assertEqual(len(server_sig_algs().split(b",")), len(set(server_sig_algs().split(b","))))
