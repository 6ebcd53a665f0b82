"""The user's guide: every command of docs/guide, in the order of its pages, on machines that are called as there."""

from __future__ import annotations

from tests.interop.case import InteropTests
from tests.interop.guide import GUIDE, Reader, says
from tests.interop.world import World

MACHINES = ("auth", "proxy", "web1", "web2", "laptop", "runner")


class GuideTests(InteropTests):
    def test_pages(self) -> None:
        """Whoever follows the guide sees what it shows."""
        world = World()
        self.addCleanup(world.stop)
        reader = Reader(world.start(*MACHINES))
        self.addCleanup(reader.close)
        for page in sorted(path.name for path in GUIDE.glob("*.rst")):
            reader.follow(page)


class SayingTests(InteropTests):
    """What counts as saying the same as a page."""

    def test_says(self) -> None:
        text = "a first line\nNodename  State\nweb1      online\nlast\n"
        for wanted in (
            ["a first line"],
            ["... line", "web1 online"],
            ["a ... line", "...", "last"],
            ["Nodename State"],
        ):
            self.assertTrue(says(text, wanted), wanted)
        for wanted in (["second"], ["last", "a first line"], ["web1 ... offline"]):
            self.assertFalse(says(text, wanted), wanted)
