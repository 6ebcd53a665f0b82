"""Events are what the catalogue says, whoever made them."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.audit.catalogue import COMMON, EVENTS, FIELDS, OF_HOSTS, Shape, severity
from teleport_conch.audit.event import CUT, MAX_ITEM_BYTES, MAX_ITEMS, MAX_TEXT_BYTES, build, check, cut, instant
from teleport_conch.errors import BadParameter

NOW = 1601553600.123
UID = "8d38b1d8-9c2b-4a4f-8f2e-0c4b8d3c5f00"
NODE = "0f3b0a5c-2f5c-4c5e-9d0b-111111111111"
SAMPLES: dict[Shape, object] = {
    Shape.TEXT: "text",
    Shape.NUMBER: 7,
    Shape.FLAG: True,
    Shape.TEXTS: ["a", "b"],
    Shape.LINES: ["a", "b"],
    Shape.TEXT_MAP: {"a": "b"},
    Shape.INSTANT: 0.0,
}


def start(**fields: object) -> dict[str, object]:
    given_ = {"user": "alice", "login": "root", "sid": "s", **fields}
    return build("session.start", True, given_, NOW, UID)


class CatalogueTests(SynchronousTestCase):
    def test_fields_have_shapes(self) -> None:
        """Every field of every event has a shape, and every shape is of a field in use."""
        used = COMMON.union(*(kind.fields for kind in EVENTS.values()))
        self.assertEqual(used, FIELDS.keys())

    def test_codes(self) -> None:
        """A code names one event and one outcome, and ends in its severity."""
        codes = [code for kind in EVENTS.values() for code in kind.codes]
        self.assertEqual(len(codes), len(set(codes)))
        self.assertEqual([severity(code) for code in ("T2000I", "T3007W", "T3002E")], ["info", "warning", "error"])
        for code in codes:
            self.assertRegex(code, r"^TJ?[0-9]{3,4}[IWE]$")

    def test_required_and_optional(self) -> None:
        """No field is both."""
        for kind in EVENTS.values():
            self.assertEqual(kind.required & kind.optional, frozenset(), kind.name)


class BuildTests(SynchronousTestCase):
    def test_shape(self) -> None:
        """The event as Teleport writes it."""
        event = start(
            addr_remote="73.2.2.1:42146", server_id=NODE, server_labels={"env": "prod"}, size="80:25", error=None
        )
        self.assertEqual(
            event,
            {
                "event": "session.start",
                "code": "T2000I",
                "success": True,
                "time": "2020-10-01T12:00:00.123Z",
                "uid": UID,
                "ei": 0,
                "user": "alice",
                "login": "root",
                "sid": "s",
                "addr.remote": "73.2.2.1:42146",
                "server_id": NODE,
                "server_labels": {"env": "prod"},
                "size": "80:25",
            },
        )

    def test_every_event(self) -> None:
        """Each one can be built with all its fields, of either outcome, and is then accepted from a host that may."""
        for kind in EVENTS.values():
            fields = {name: SAMPLES[FIELDS[name]] for name in kind.fields} | {"server_id": NODE}
            for success in (True, False) if kind.code_failed else (True,):
                event = build(kind.name, success, fields, NOW, UID)
                self.assertEqual(event["code"], kind.code(success))
                self.assertEqual(event.get("success"), success if kind.code_failed else None)
                if kind.name in OF_HOSTS:
                    self.assertEqual(check(json.loads(json.dumps(event)), NODE), event)
                else:
                    self.assertRaises(BadParameter, check, event, NODE)

    def test_mistakes(self) -> None:
        """What the catalogue does not have is a mistake of the program."""
        for name, success, fields, sentence in (
            ("session.begin", True, {}, "there is no event 'session.begin' in the catalogue"),
            ("resize", True, {"sid": "s"}, "the event resize lacks field 'size'"),
            ("resize", True, {"sid": "s", "size": "1:1", "colour": "red"}, "the event resize has no field 'colour'"),
            ("resize", True, {"sid": "s", "size": None}, "the event resize lacks field 'size'"),
            ("resize", False, {"sid": "s", "size": "1:1"}, "the event resize cannot fail"),
            ("resize", True, {"sid": "s", "size": 80}, "the field size has to be a text"),
            ("resize", True, {"sid": "s", "size": "", "ei": True}, "the field ei has to be a number"),
            ("resize", True, {"sid": "s", "size": "", "ei": 2**63}, "the field ei has to be a number"),
            ("auth", True, {"user": "a", "roles": "admin"}, "the field roles has to be a list of texts"),
            ("auth", True, {"user": "a", "roles": [1]}, "the field roles has to be a list of texts"),
            ("auth", True, {"user": "a", "server_labels": {"a": 1}}, "the field server_labels has to be a map of tex"),
            ("node.state", True, {"node_id": "", "node_name": "", "state": "", "last_seen": "soon"}, "an instant"),
        ):
            error = self.assertRaises(ValueError, build, name, success, fields, NOW, UID)
            self.assertIn(sentence.removeprefix("an "), str(error))

    def test_bounds(self) -> None:
        """Texts are cut with a mark; lists and maps keep their first items."""
        event = start(
            user="x" * 5000,
            server_labels={f"{number}": "y" * 1000 for number in range(100)},
            error="\x1b[2J\n",
        )
        self.assertEqual(event["user"], "x" * (MAX_TEXT_BYTES - len(CUT)) + CUT)
        labels = event["server_labels"]
        assert isinstance(labels, dict)
        self.assertEqual(len(labels), MAX_ITEMS)
        self.assertEqual({len(value) for value in labels.values()}, {MAX_ITEM_BYTES})
        self.assertEqual(event["error"], "\x1b[2J\n")

    @given(st.text(st.characters(codec=None)), st.integers(16, 64))
    def test_cut(self, text: str, max_bytes: int) -> None:
        """What is cut fits, is Unicode, and is not cut again; what fits is left alone, lone surrogates excepted."""
        short = cut(text, max_bytes)
        self.assertLessEqual(len(short.encode()), max_bytes)
        self.assertEqual(cut(short, max_bytes), short)
        whole = text.encode("utf-8", "backslashreplace").decode()
        self.assertTrue(short == whole or (short.endswith(CUT) and whole.startswith(short.removesuffix(CUT))))

    def test_instants(self) -> None:
        """Milliseconds in UTC, in four digits of year whatever the number."""
        for seconds, text in (
            (0.0, "1970-01-01T00:00:00.000Z"),
            (-1e30, "1970-01-01T00:00:00.000Z"),
            (1e30, "9999-12-31T23:59:59.000Z"),
            (NOW, "2020-10-01T12:00:00.123Z"),
        ):
            self.assertEqual(instant(seconds), text)


class CheckTests(SynchronousTestCase):
    def refusal(self, value: object) -> str:
        return str(self.assertRaises(BadParameter, check, value, NODE))

    def test_refusals(self) -> None:
        """What another host sends is taken for nothing but what the catalogue says."""
        good = start(server_id=NODE)
        unknown = "an event has to be an object with the name of an event that this cluster knows."
        no_time = "the event session.start needs a time like 1970-01-01T00:00:00.000Z and a UUID as its uid."
        for value, sentence in (
            ([], unknown),
            ({"event": ["session.start"]}, unknown),
            ({**good, "event": "session.begin"}, unknown),
            ({**good, "code": "T3007W"}, "the event session.start has the wrong code."),
            ({**good, "code": None}, "the event session.start has the wrong code."),
            ({**good, "time": 0}, no_time),
            ({**good, "time": "2020-10-01T12:00:00Z"}, no_time),
            ({**good, "uid": "../../x"}, no_time),
            ({**good, "colour": "red"}, "the event session.start has no field 'colour'."),
            ({**good, "user": 1}, "the field user has to be a text."),
            ({**good, "server_id": "x"}, "the event session.start is not from the host that sent it."),
            (start(), "the event session.start is not from the host that sent it."),
        ):
            self.assertEqual(self.refusal(value), sentence)

    def test_outcome(self) -> None:
        """A failure cannot be told as a success."""
        failed = build("auth", False, {"user": "mallory", "server_id": NODE}, NOW, UID)
        for value in ({**failed, "success": True}, {**failed, "code": "T3007I"}, {**failed, "success": 0}):
            self.assertEqual(self.refusal(value), "the event auth has the wrong code.")

    def test_bounds(self) -> None:
        """Bounds hold for what was sent as for what was made here."""
        event = check({**start(server_id=NODE), "user": "x" * 5000}, NODE)
        self.assertEqual(len(str(event["user"])), MAX_TEXT_BYTES)
