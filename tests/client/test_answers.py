"""What the API answers, where no resource has its shape."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.client.answers import MAX_LISTED, Ping, Status, UserCertificates, as_object, as_text, items
from teleport_conch.errors import BadParameter, TooLarge
from tests.client import certificates


class ItemTests(SynchronousTestCase):
    def test_list(self) -> None:
        self.assertEqual(items({"items": ["a", "b"]}, as_text), ("a", "b"))
        self.assertEqual(items({"items": [{"a": 1}]}, as_object), ({"a": 1},))
        self.assertEqual(items({"items": []}, as_object), ())

    def test_no_list(self) -> None:
        wrong: list[object] = [{}, {"items": None}, {"items": {}}, {"items": "ab"}]
        for value in wrong:
            refused = self.assertRaises(BadParameter, items, value, as_text)
            self.assertEqual(refused.sentence, "answer.items has to be a list.")
        self.assertRaises(BadParameter, items, [], as_text)

    def test_other_items(self) -> None:
        refused = self.assertRaises(BadParameter, items, {"items": [1]}, as_text)
        self.assertEqual(refused.sentence, "answer.items has to hold strings only.")
        self.assertRaises(BadParameter, items, {"items": [1]}, as_object)

    def test_too_many(self) -> None:
        refused = self.assertRaises(TooLarge, items, {"items": [""] * (MAX_LISTED + 1)}, as_text)
        self.assertEqual(refused.sentence, "The auth server answered a list of more than 50000 items.")


class AnswerTests(SynchronousTestCase):
    def test_ping(self) -> None:
        self.assertEqual(
            Ping.from_json({"server_time": 1, "cluster_name": "c", "server_version": "1.2", "more": 1}),
            Ping(1.0, "c", "1.2", ""),
        )
        self.assertRaises(BadParameter, Ping.from_json, {"server_time": "1", "cluster_name": "c"})

    def test_status(self) -> None:
        self.assertEqual(
            Status.from_json({"cluster_name": "c", "ca_pins": ["sha256:0"]}),
            Status("c", "", ("sha256:0",), "off", (), ()),
        )

    def test_user_certificates(self) -> None:
        public = certificates.USER_CA.public()
        found = UserCertificates.from_json({"cert": "ssh", "authorities": [public.to_json()]})
        self.assertEqual(found, UserCertificates("ssh", "", (public,)))
        self.assertRaises(BadParameter, UserCertificates.from_json, {"tls_cert": "x"})
