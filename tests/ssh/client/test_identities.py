"""What a user can log in with, and the algorithm that is chosen for a server."""

from __future__ import annotations

from attrs import evolve
from cryptography.hazmat.primitives.asymmetric import ec
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.certs import keys, public_key
from teleport_conch.certs.signatures import Signature, verify
from teleport_conch.errors import BadParameter
from teleport_conch.ssh.client.identities import KeyIdentity, algorithms_of, choose_algorithm, described
from tests.certs import samples

RSA = samples.rsa_blob(samples.rsa_key())
RSA_CERTIFICATE = evolve(samples.user_certificate(), kind="ssh-rsa-cert-v01@openssh.com", public_key=RSA).to_blob()
CERTIFIED_512 = b"rsa-sha2-512-cert-v01@openssh.com"
CERTIFIED_256 = b"rsa-sha2-256-cert-v01@openssh.com"


class SigningTests(SynchronousTestCase):
    def test_each_kind(self) -> None:
        """Every algorithm of every kind of key makes signatures that verify."""
        private: list[keys.PrivateKey] = [samples.SSH_KEY, samples.rsa_key(), *map(samples.ecdsa_key, (256, 384, 521))]
        for key in private:
            identity = KeyIdentity.of(key)
            for algorithm in algorithms_of(identity.blob):
                signature = self.successResultOf(Deferred.fromCoroutine(identity.sign(algorithm, b"data")))
                given = Signature.parse(signature)
                self.assertEqual(given.algorithm, algorithm.decode())
                verify(public_key.parse(identity.blob), given, b"data")

    def test_certificates(self) -> None:
        """A certificate is shown, and the key signs with its plain algorithm."""
        certificate = samples.user_certificate()
        identity = KeyIdentity.of(samples.SSH_KEY, certificate)
        self.assertEqual(identity.blob, certificate.to_blob())
        (algorithm,) = algorithms_of(identity.blob)
        self.assertEqual(algorithm, b"ssh-ed25519-cert-v01@openssh.com")
        signature = self.successResultOf(Deferred.fromCoroutine(identity.sign(algorithm, b"data")))
        verify(public_key.parse(samples.SSH_BLOB), Signature.parse(signature), b"data")

    def test_refused(self) -> None:
        """A certificate over another key, and a key on a curve that SSH has not."""
        error = self.assertRaises(BadParameter, KeyIdentity.of, samples.rsa_key(), samples.user_certificate())
        self.assertEqual(error.sentence, "The certificate is for another key than the private one beside it.")
        self.assertRaises(BadParameter, KeyIdentity.of, ec.generate_private_key(ec.SECP256K1()))

    def test_no_private_key_is_shown(self) -> None:
        """What is printed of an identity holds its name and nothing else."""
        self.assertEqual(
            repr(KeyIdentity.of(samples.SSH_KEY)),
            f"KeyIdentity(name='ssh-ed25519 {keys.fingerprint(samples.SSH_BLOB)}', asks=False)",
        )

    def test_described(self) -> None:
        """A certificate is called by its key and its owner."""
        fingerprint = keys.fingerprint(samples.SSH_BLOB)
        self.assertEqual(
            described(samples.user_certificate(key_id="al\x1bice").to_blob()),
            f"ssh-ed25519-cert-v01@openssh.com {fingerprint} of 'alice'",
        )


class ChoiceTests(SynchronousTestCase):
    def test_rsa(self) -> None:
        """Of RSA's two algorithms the first that the server lists, by its plain name or the certificate's."""
        for blob, accepted, chosen in (
            (RSA, None, b"rsa-sha2-512"),
            (RSA, [b"ssh-rsa", b"rsa-sha2-256"], b"rsa-sha2-256"),
            (RSA, [b"rsa-sha2-256", b"rsa-sha2-512"], b"rsa-sha2-512"),
            (RSA, [b"ssh-rsa", b"ssh-ed25519"], None),
            (RSA, [], None),
            (RSA_CERTIFICATE, None, CERTIFIED_512),
            (RSA_CERTIFICATE, [b"rsa-sha2-256"], CERTIFIED_256),
            (RSA_CERTIFICATE, [CERTIFIED_256], CERTIFIED_256),
            (RSA_CERTIFICATE, [b"ssh-rsa-cert-v01@openssh.com"], None),
        ):
            self.assertEqual(choose_algorithm(blob, accepted), chosen)

    def test_others(self) -> None:
        """Other keys have one algorithm, which is tried whatever the list says."""
        self.assertEqual(choose_algorithm(samples.SSH_BLOB, [b"rsa-sha2-512"]), b"ssh-ed25519")
        self.assertEqual(choose_algorithm(samples.SSH_BLOB, None), b"ssh-ed25519")

    def test_unknown(self) -> None:
        """What is no key, or of a type that is not used here, has none."""
        for blob in (b"", b"\0\0\0\x07ssh-dss", b"\0\0\0\x20ssh"):
            self.assertEqual(algorithms_of(blob), ())
            self.assertIs(choose_algorithm(blob, None), None)
