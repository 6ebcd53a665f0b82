"""Authorities without their secrets, and the lines that make OpenSSH trust them."""

from __future__ import annotations

import json

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.certs import keys
from teleport_conch.certs.public import PublicAuthority
from teleport_conch.errors import BadParameter
from tests.certs import samples

USER, HOST = samples.USER_CA.public(), samples.HOST_CA.public()


class LineTests(SynchronousTestCase):
    def test_user(self) -> None:
        key = keys.public_line(USER.ssh_keys[0])
        self.assertEqual(USER.user_lines(), (f"cert-authority {key} clustername=demo.example&type=user",))

    def test_host(self) -> None:
        key = keys.public_line(HOST.ssh_keys[0])
        lines = HOST.host_lines(["*.demo.example", "[proxy.example.com]:3023", "[::1]:3023", "*.demo.example"])
        self.assertEqual(
            lines, (f"@cert-authority *.demo.example,[proxy.example.com]:3023,[::1]:3023 {key} type=host",)
        )

    def test_a_line_for_each_key(self) -> None:
        two = evolve(HOST, ssh_keys=(*HOST.ssh_keys, samples.SSH_BLOB))
        self.assertEqual(len(two.host_lines(["*"])), 2)
        self.assertEqual(len(two.user_lines()), 2)

    def test_patterns(self) -> None:
        """Nothing that would begin another field, line or comment is a pattern."""
        for pattern in ("", "a b", "a\nb", "a,b", "#a", "|1|a|b", "@revoked", "a\t", "[a]", "[a]:x", "wéb", "a\0"):
            error = self.assertRaises(BadParameter, HOST.host_lines, ["web1", pattern])
            self.assertIn("is not a pattern of host names", str(error))
        self.assertIn("at least one pattern", str(self.assertRaises(BadParameter, HOST.host_lines, [])))


class ResourceTests(SynchronousTestCase):
    def test_round_trip(self) -> None:
        for authority in (USER, HOST, evolve(USER, tls_certificates=())):
            again = json.loads(json.dumps(authority.to_json()))
            self.assertEqual(PublicAuthority.from_json(again), authority)
            self.assertEqual((again["kind"], again["version"]), ("cert_authority", "v2"))
            self.assertEqual(again["spec"]["type"], authority.kind)

    def test_of_one_with_secrets(self) -> None:
        whole = samples.USER_CA.to_json(with_secrets=True)
        self.assertEqual(PublicAuthority.from_json(whole), USER)

    def test_refused(self) -> None:
        """Too many keys, keys that are none, and a certificate that would speak for another cluster."""
        good = json.loads(json.dumps(USER.to_json()))
        spec = good["spec"]
        certificate = json.loads(json.dumps(samples.OTHER_USER_CA.public().to_json()))["spec"]["tls_key_pairs"]
        for changes, says in (
            ({"checking_keys": spec["checking_keys"] * 17}, "more than 16 items"),
            ({"tls_key_pairs": spec["tls_key_pairs"] * 17}, "more than 16 items"),
            ({"checking_keys": ["AAA"]}, "has to be base64 of a text"),
            ({"checking_keys": ["YWJj"]}, "not one line"),
            ({"tls_key_pairs": [{"cert": "YWJj"}]}, "not a certificate in PEM form"),
            ({"tls_key_pairs": certificate}, "a certificate of another cluster than demo.example"),
            ({"type": "jwt"}, "has to be user or host"),
            ({"cluster_name": ""}, "missing parameter"),
        ):
            error = self.assertRaises(BadParameter, PublicAuthority.from_json, {**good, "spec": {**spec, **changes}})
            self.assertIn(says, str(error))
        values: tuple[object, ...] = (None, [], {}, {"kind": "token"})
        for value in values:
            self.assertRaises(BadParameter, PublicAuthority.from_json, value)
