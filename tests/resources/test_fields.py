"""Fields of JSON that others wrote."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.errors import BadParameter
from teleport_conch.resources.fields import Fields, envelope


class NumberTests(SynchronousTestCase):
    def test_finite(self) -> None:
        fields = Fields({"a": 1, "b": -0.5}, "x")
        self.assertEqual((fields.number("a"), fields.instant("b"), fields.number("c", 3.0)), (1.0, -0.5, 3.0))

    def test_out_of_range(self) -> None:
        """``1e999`` is read as an infinity, which no JSON can answer; an integer may be too large for a float."""
        for value in (float("inf"), float("-inf"), float("nan"), 10**400):
            fields = Fields({"at": value}, "session.spec")
            for read in (fields.number, fields.instant):
                refusal = self.assertRaises(BadParameter, read, "at")
                self.assertEqual(refusal.sentence, "session.spec.at is a number out of range.")


class DurationTests(SynchronousTestCase):
    def test_read(self) -> None:
        """As people write durations everywhere, or a number of seconds."""
        for value, seconds in (
            ("15m", 900.0),
            ("1h30m", 5400.0),
            ("never", 0.0),
            ("Never", 0.0),
            ("0", 0.0),
            (90, 90.0),
        ):
            self.assertEqual(Fields({"a": value}, "x").duration("a", 7.0), seconds)
        self.assertEqual(Fields({"a": None}, "x").duration("a", 7.0), 7.0)

    def test_refused(self) -> None:
        """What is none is named, with what is wrong in it."""
        for value, sentence in (
            ("15", "x.a: the duration '15' has no unit: write 15s, 15m or 15h."),
            ("soon", "x.a: 'soon' is not a duration: write it like 300ms, 30s or 1h30m."),
            ("", "x.a: '' is not a duration: write it like 300ms, 30s or 1h30m."),
            (True, "x.a has to be a number."),
            (float("inf"), "x.a is a number out of range."),
        ):
            refusal = self.assertRaises(BadParameter, Fields({"a": value}, "x").duration, "a", 7.0)
            self.assertEqual(refusal.sentence, sentence)


class TextTests(SynchronousTestCase):
    def refused(self, value: object, sentence: str, method: str = "text", **options: int) -> None:
        fields = Fields({"a": value}, "token.spec")
        refusal = self.assertRaises(BadParameter, getattr(fields, method), "a", **options)
        self.assertEqual(refusal.sentence, sentence)

    def test_texts(self) -> None:
        """What is there, what may be absent, and what stands for it."""
        fields = Fields({"a": "x", "empty": "", "null": None, "list": ["x", ""], "map": {"k": ""}}, "x")
        self.assertEqual(
            (fields.text("a"), fields.text("b", default="y"), fields.text("null", default="y")), ("x", "y", "y")
        )
        self.assertEqual(
            (fields.text("empty", default="y"), fields.texts("list"), fields.texts("b")), ("", ("x", ""), ())
        )
        self.assertEqual((fields.text_map("map"), fields.text_map("b")), ({"k": ""}, {}))

    def test_missing(self) -> None:
        """A field that has to be there is named with where it belongs."""
        for value in (None, ""):
            self.refused(value, "missing parameter token.spec.a")
        self.refused(None, "missing parameter token.spec.a", "number")

    def test_types(self) -> None:
        """Nothing is taken for something else: true is no number, and a number no text."""
        self.refused(5, "token.spec.a has to be a string.")
        self.refused(["x"], "token.spec.a has to be a string.")
        self.refused(True, "token.spec.a has to be a number.", "number")
        self.refused("5", "token.spec.a has to be a number.", "number")
        self.refused(True, "token.spec.a has to be a number of POSIX seconds.", "instant")
        self.refused("x", "token.spec.a has to be a list.", "texts")
        self.refused(["x", 5], "token.spec.a has to hold strings only.", "texts")
        self.refused(["x"], "token.spec.a has to be an object.", "text_map")
        self.refused({"k": 5}, "token.spec.a has to hold strings only.", "text_map")
        self.refused("x", "token.spec.a has to be an object.", "child")
        self.refused(["x"], "token.spec.a[0] has to be an object.", "children")
        self.refused({"k": "x"}, "token.spec.a.k has to be an object.", "named_children")
        refusal = self.assertRaises(BadParameter, Fields({"a": 1}, "x").boolean, "a", False)
        self.assertEqual(refusal.sentence, "x.a has to be true or false.")

    def test_bounds(self) -> None:
        """Texts, lists and objects have an end, and so have the names in objects."""
        long = "x" * 1025
        self.refused(long, "token.spec.a is longer than 1024 characters.")
        self.refused([long], "token.spec.a is longer than 1024 characters.", "texts")
        self.refused({"k": long}, "token.spec.a is longer than 1024 characters.", "text_map")
        for method in ("text_map", "named_children"):
            self.refused({long: "x"}, "token.spec.a is longer than 1024 characters.", method)
            self.refused({"": "x"}, "missing parameter token.spec.a", method)
        self.refused(["x"] * 3, "token.spec.a has more than 2 items.", "texts", max_items=2)
        self.refused([{}] * 3, "token.spec.a has more than 2 items.", "children", max_items=2)
        many: dict[str, dict[str, str]] = {str(number): {} for number in range(3)}
        self.refused(many, "token.spec.a has more than 2 entries.", "named_children", max_items=2)
        self.refused(dict.fromkeys(many, "x"), "token.spec.a has more than 2 entries.", "text_map", max_items=2)

    def test_not_an_object(self) -> None:
        """What is no object has no fields."""
        values: tuple[object, ...] = (None, [], "x", 5, True)
        for value in values:
            refusal = self.assertRaises(BadParameter, Fields, value, "heartbeat")
            self.assertEqual(refusal.sentence, "heartbeat has to be an object.")


class EnvelopeTests(SynchronousTestCase):
    def test_kind(self) -> None:
        """A resource of another kind is refused, and says which it is."""
        for value, said in (({"kind": "role"}, "'role'"), ({}, "''")):
            refusal = self.assertRaises(BadParameter, envelope, value, "token")
            self.assertEqual(refusal.sentence, f"a resource of kind token is due, and this one says {said}.")
