"""Identities of hosts and users, and the files that they are kept in."""

from __future__ import annotations

import json

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.certs import keys, tls
from teleport_conch.certs.identity import HostIdentity, UserIdentity, openssh_files, read_identity_file
from teleport_conch.errors import BadParameter
from tests.certs import samples
from tests.certs.samples import CLUSTER, HOST_CA, HOST_UUID, NOW, USER_CA

AUTHORITIES = (USER_CA.public(), HOST_CA.public())


def host_identity(ttl_s: float = 3600) -> HostIdentity:
    certificate = HOST_CA.sign_host_tls(
        samples.TLS_KEY.public_key(),
        host_uuid=HOST_UUID,
        cluster_name=CLUSTER,
        role="Node",
        names=[],
        ttl_s=ttl_s,
        now=NOW,
    )
    return HostIdentity(
        host_uuid=HOST_UUID,
        node_name="web1",
        cluster_name=CLUSTER,
        role="Node",
        ssh_key=keys.ssh_private_pem(samples.SSH_KEY),
        ssh_certificate=samples.host_certificate().to_line(),
        tls_key=keys.private_pem(samples.TLS_KEY),
        tls_certificate=tls.certificate_pem(certificate),
        authorities=AUTHORITIES,
    )


def user_identity() -> UserIdentity:
    public = samples.TLS_KEY.public_key()
    ssh = USER_CA.sign_user_ssh(
        keys.public_blob(public), name="alice", logins=["root"], roles=["access"], traits={}, ttl_s=3600, now=NOW
    )
    own = USER_CA.sign_user_tls(public, name="alice", logins=["root"], roles=["access"], traits={}, ttl_s=3600, now=NOW)
    return UserIdentity(
        name="alice",
        cluster_name=CLUSTER,
        key=keys.private_pem(samples.TLS_KEY),
        ssh_certificate=ssh.to_line(),
        tls_certificate=tls.certificate_pem(own),
        authorities=(HOST_CA.public(),),
    )


class HostTests(SynchronousTestCase):
    def test_round_trip(self) -> None:
        identity = host_identity()
        kept = json.loads(json.dumps(identity.to_json()))
        self.assertEqual((kept["kind"], kept["version"]), ("identity", "v2"))
        self.assertEqual(HostIdentity.from_json(kept), identity)

    def test_times(self) -> None:
        """It ends with the first of its certificates, and is renewed at half of the time it was given for."""
        self.assertEqual(host_identity().not_after, NOW + 3600)
        self.assertEqual(host_identity().renew_at(), NOW + 1800)
        self.assertEqual(host_identity(ttl_s=60).not_after, NOW + 60)
        self.assertEqual(host_identity(ttl_s=60).renew_at(), NOW + 30)
        self.assertIn("web1.demo.example", host_identity().principals)

    def test_secrets_are_not_shown(self) -> None:
        for identity in (host_identity(), user_identity()):
            self.assertNotIn("PRIVATE", repr(identity))

    def test_refused(self) -> None:
        """Certificates for other keys, and texts that are no certificates, are told apart from a good file."""
        other = keys.ssh_private_pem(keys.generate_ssh_key())
        for changed, says in (
            (evolve(host_identity(), ssh_key=other), "SSH certificate of this identity is not for its key"),
            (evolve(host_identity(), tls_key=other), "TLS certificate of this identity is not for its key"),
            (evolve(host_identity(), ssh_key="x"), "not a private key"),
            (evolve(host_identity(), ssh_certificate="x"), "not the line of a certificate"),
            (evolve(host_identity(), tls_certificate="x"), "not a certificate in PEM form"),
        ):
            error = self.assertRaises(BadParameter, HostIdentity.from_json, changed.to_json())
            self.assertIn(says, str(error))
        self.assertRaises(BadParameter, HostIdentity.from_json, {"kind": "identity", "spec": {}})


class UserTests(SynchronousTestCase):
    def test_file(self) -> None:
        """One file with everything in Teleport's order, from which the identity is read again."""
        identity = user_identity()
        files = identity.files("file")
        self.assertEqual(set(files), {""})
        starts = [line.split()[0] for line in files[""].splitlines() if line.startswith(("-----BEGIN", "ecdsa", "@"))]
        self.assertEqual(
            starts,
            [
                *("-----BEGIN", "ecdsa-sha2-nistp256-cert-v01@openssh.com", "-----BEGIN"),
                *("@cert-authority", "-----BEGIN"),
            ],
        )
        self.assertEqual(read_identity_file(files[""]), identity)
        self.assertEqual(read_identity_file(files[""].replace("\n", "\r\n")), identity)
        self.assertEqual(identity.not_after, NOW + 3600)

    def test_openssh(self) -> None:
        identity = user_identity()
        files = identity.files("openssh")
        self.assertEqual(set(files), {"", "-cert.pub"})
        self.assertIn("BEGIN OPENSSH PRIVATE KEY", files[""])
        self.assertEqual(files["-cert.pub"], identity.ssh_certificate + "\n")

    def test_tls(self) -> None:
        files = user_identity().files("tls")
        self.assertEqual(set(files), {".key", ".crt", ".cas"})
        self.assertEqual(files[".cas"], HOST_CA.public().tls_certificates[0])

    def test_host_files(self) -> None:
        files = openssh_files(keys.ssh_private_pem(samples.SSH_KEY), samples.host_certificate().to_line())
        public = keys.load_private_pem(files[""]).public_key()
        self.assertEqual(keys.public_blob(public), samples.SSH_BLOB)

    def test_unknown_format(self) -> None:
        error = self.assertRaises(BadParameter, user_identity().files, "kubernetes")
        self.assertIn("file, openssh or tls, and not 'kubernetes'", str(error))

    def test_refused(self) -> None:
        """A file that lacks a part, or whose parts do not fit, says which."""
        identity = user_identity()
        text = identity.files("file")[""]
        other = evolve(identity, key=keys.private_pem(keys.generate_tls_key())).files("file")[""]
        host = evolve(identity, authorities=()).files("file")[""]
        for broken, says in (
            ("", "not an identity file"),
            (text[:200], "not an identity file"),
            (host, "not an identity file"),
            (text.replace(identity.ssh_certificate, ""), "not an identity file"),
            (other, "not for its key"),
            (text.replace("ssh-ed25519 AAAA", "ssh-ed25519 AAAB"), "not the line of a public key"),
            ("x" * 300_000, "at most 262144"),
        ):
            self.assertIn(says, str(self.assertRaises(BadParameter, read_identity_file, broken)))
