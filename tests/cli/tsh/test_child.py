"""Programs that are run to their end, with something left to do afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.cli.tsh import child

DEADLINE_S = 60
_IN_FOLDER = """\
import sys, time
from teleport_conch.cli.tsh.child import private_folder
with private_folder() as folder:
    (folder / "key").touch()
    print(folder, flush=True)
    time.sleep(100)
"""
_TOLD = """\
import signal, sys
for each in (signal.SIGTERM, signal.SIGHUP):
    signal.signal(each, lambda number, frame: sys.exit(3))
print("ready", flush=True)
sys.stdin.read()
sys.exit(5)
"""
_PASSING = """\
import sys
from teleport_conch.cli.tsh import child
sys.exit(child.run(sys.executable, [sys.executable, "-c", sys.argv[1]]))
"""
_CHILD = """\
import sys
from teleport_conch.cli.tsh import child
sys.exit(child.run("/bin/sh", ["sh", "-c", sys.argv[1]]))
"""


class RunTests(SynchronousTestCase):
    def test_status(self) -> None:
        """A status is passed on; of a signal, what a shell says."""
        for line, status in (("exit 0", 0), ("exit 7", 7), ("kill -TERM $$", 143)):
            self.assertEqual(child.run("/bin/sh", ["sh", "-c", line]), status)

    def test_signals(self) -> None:
        """What is to end this process ends the program; what the keyboard says is for the program alone."""
        for number, status in ((signal.SIGTERM, 3), (signal.SIGHUP, 3), (signal.SIGINT, 5)):
            with subprocess.Popen(
                [sys.executable, "-c", _PASSING, _TOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            ) as process:
                assert process.stdout is not None
                self.assertEqual(process.stdout.readline(), b"ready\n")
                process.send_signal(number)
                if number == signal.SIGINT:
                    process.communicate(timeout=DEADLINE_S)
                self.assertEqual(process.wait(DEADLINE_S), status, number)

    def test_stopped(self) -> None:
        """With a program that is stopped this process stops, and both go on."""
        with subprocess.Popen([sys.executable, "-c", _CHILD, "kill -STOP $$; exit 6"]) as process:
            _, status = os.waitpid(process.pid, os.WUNTRACED)
            self.assertTrue(os.WIFSTOPPED(status))
            process.send_signal(signal.SIGCONT)
            self.assertEqual(process.wait(DEADLINE_S), 6)


class FolderTests(SynchronousTestCase):
    def test_gone(self) -> None:
        """The folder is gone in the end, whatever that was."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            with subprocess.Popen(
                [sys.executable, "-c", _IN_FOLDER], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            ) as process:
                assert process.stdout is not None
                folder = Path(process.stdout.readline().decode().strip())
                self.assertEqual(folder.stat().st_mode & 0o777, 0o700)
                process.send_signal(number)
                process.wait(DEADLINE_S)
            self.assertFalse(folder.exists(), number)

    def test_ignored_before(self) -> None:
        """What nohup had ignored still is."""
        before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self.addCleanup(signal.signal, signal.SIGHUP, before)
        with child.private_folder():
            self.assertIs(signal.getsignal(signal.SIGHUP), signal.SIG_IGN)
