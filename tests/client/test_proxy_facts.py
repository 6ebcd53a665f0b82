"""What a proxy says of itself ends up in files that OpenSSH reads, so that none of it is taken as it comes."""

from __future__ import annotations

from collections.abc import Mapping

from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.client.web import ProxyFacts, SignedIn
from teleport_conch.errors import BadParameter, PrincipalForbidden

CLUSTER = "one.example.org"


def told(cluster: str = CLUSTER, **ssh: str) -> Mapping[str, object]:
    return {"cluster_name": cluster, "proxy": {"ssh": ssh}, "auth": {"second_factor": "otp"}}


class FactsTests(SynchronousTestCase):
    def test_taken(self) -> None:
        """A name, and addresses with their ports, or none."""
        facts = ProxyFacts.from_json(told(ssh_public_addr="P.example.org:3023", public_addr="[2001:db8::1]:3080"))
        self.assertEqual((facts.cluster_name, facts.ssh_public_addr), (CLUSTER, "p.example.org:3023"))
        self.assertEqual((facts.web_public_addr, facts.ssh_listen_addr), ("[2001:db8::1]:3080", ""))

    def test_versions(self) -> None:
        """What a proxy does not say is no condition."""
        self.assertEqual(ProxyFacts.from_json(told()).min_client_version, "")
        facts = ProxyFacts.from_json({**told(), "min_client_version": "0.2.0"})
        self.assertEqual(facts.min_client_version, "0.2.0")

    def test_T112_cluster(self) -> None:
        """The name of a cluster names files, and stands in an ssh_config."""
        for cluster in ("../../.ssh/authorized_keys", "x\nProxyCommand touch /tmp/x\n", "$(id)", "*", "a b"):
            self.assertRaises(PrincipalForbidden, ProxyFacts.from_json, told(cluster))

    def test_T112_addresses(self) -> None:
        """Addresses stand in an ssh_config, and say for whom the cluster's authority vouches."""
        for address in ("*:3023", "p:3023\n    ProxyCommand touch /tmp/x", "-oProxyCommand=x:22", "p:99999", "a b:22"):
            refusal = self.assertRaises(BadParameter, ProxyFacts.from_json, told(ssh_public_addr=address))
            self.assertIn("is no address", refusal.sentence)
            self.assertTrue(refusal.sentence.isprintable())
            self.assertRaises(BadParameter, ProxyFacts.from_json, told(public_addr=address))

    def test_no_authority(self) -> None:
        """Without the authority of the hosts a login is good for nothing."""
        answer = {"username": "alice", "cert": "eA==", "tls_cert": "eA=="}
        refusal = self.assertRaises(BadParameter, SignedIn.from_json, answer)
        self.assertEqual(refusal.sentence, "missing parameter answer.host_signers")
