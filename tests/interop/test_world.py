"""The machines that pages of the manual are tried on."""

from __future__ import annotations

from pathlib import Path

from tests.interop.case import InteropTests
from tests.interop.programs import check
from tests.interop.world import World


class WorldTests(InteropTests):
    def test_apart(self) -> None:
        """Machines have names, networks and files of their own, reach one another, and leave nothing on this one."""
        world = World()
        self.addCleanup(world.stop)
        world.start("auth", "laptop")
        self.assertEqual(check(world["auth"].run("hostname")).text, "auth\n")
        world["auth"].write("/etc/teleport.yaml", "here: yes\n")
        self.assertEqual(check(world["auth"].shell("cat /etc/teleport.yaml; stat -c %a /etc/teleport.yaml")).text,
                         "here: yes\n600\n")  # fmt: skip
        self.assertNotEqual(world["laptop"].run("cat", "/etc/teleport.yaml").code, 0)
        self.assertFalse(Path("/etc/teleport.yaml").exists())
        with world["auth"].background("python3", "-m", "http.server", "80"):
            page = "until curl -s http://auth.example.com/; do sleep 0.1; done"
            self.assertIn("<html", check(world["laptop"].shell(page)).text)
        self.assertNotEqual(world["laptop"].shell("curl -sm 5 http://192.0.2.1/").code, 0)
