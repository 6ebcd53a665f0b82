"""Sessions that this machine's own kernel follows."""

from __future__ import annotations

import fcntl
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.ssh.tracing import kernel, layout
from teleport_conch.ssh.tracing.records import Connected, read_head
from teleport_conch.ssh.tracing.tracer import Sizes
from tests.ssh.tracing.following import EVERYTHING, FollowingCase, commands, connected, make_tracer, opened


class CommandTests(FollowingCase):
    def test_children(self) -> None:
        """Every program that comes of the session, by whom it was started, and how that went."""
        script = "(/bin/true; exec /bin/echo a 'b c') & wait"
        found = commands(self.followed(layout.COMMAND, "/bin/sh", "-c", script)[0])
        self.assertEqual(
            [(each.program, each.path, each.argv, each.return_code) for each in found],
            [
                ("sh", "/bin/sh", ("/bin/sh", "-c", script), 0),
                ("true", "/bin/true", ("/bin/true",), 0),
                ("echo", "/bin/echo", ("/bin/echo", "a", "b c"), 0),
            ],
        )
        shell, true, echo = found
        self.assertEqual(shell.ppid, os.getpid())
        self.assertEqual((true.ppid, echo.ppid), (echo.pid, shell.pid))

    def test_not_started(self) -> None:
        """What there is not, and what may not be run, is told with the number of the error."""
        program = "import os, sys\nfor path in sys.argv[1:]:\n try: os.execv(path, ['x'])\n except OSError: pass"
        found = commands(
            self.followed(
                layout.COMMAND, sys.executable, "-I", "-S", "-c", program, "/nowhere/x", "/etc/passwd", "/dev/null"
            )[0]
        )[1:]
        self.assertEqual(
            [(each.path, each.argv, each.return_code) for each in found],
            [("/nowhere/x", ("x",), -2), ("/etc/passwd", ("x",), -13), ("/dev/null", ("x",), -13)],
        )

    def test_bounds(self) -> None:
        """A long argument is cut, and of too many it is said that there were more."""
        many = ["/bin/true", "x" * 300, *map(str, range(40))]
        few = ["/bin/true", *map(str, range(layout.MAX_ARGUMENTS - 1))]
        first, second = (commands(self.followed(layout.COMMAND, *words)[0])[0] for words in (many, few))
        assert first.argv is not None
        self.assertEqual(first.argv[1], "x" * (layout.MAX_ARGUMENT_BYTES - 1))
        self.assertEqual((len(first.argv), first.more), (layout.MAX_ARGUMENTS, True))
        self.assertEqual((second.argv, second.more), (tuple(few), False))

    def test_threads(self) -> None:
        """A program that a thread beside the first one starts has the number of the process, and its parent."""
        program = (
            "import os, threading\n"
            "t = threading.Thread(target=os.execv, args=('/bin/sh', ['sh', '-c', '/bin/true; exit']))\n"
            "t.start(); t.join()"
        )
        python, shell, true = commands(self.python(layout.COMMAND, program)[0])
        self.assertEqual((shell.program, shell.pid, shell.ppid), ("sh", python.pid, os.getpid()))
        self.assertEqual((true.path, true.ppid), ("/bin/true", shell.pid))

    def test_execveat(self) -> None:
        """A program that is started by a descriptor."""
        program = "import os; os.execve(os.open('/bin/true', os.O_RDONLY), ['named'], {})"
        started = commands(self.python(layout.COMMAND, program)[0])[1]
        self.assertEqual((started.argv, started.return_code), (("named",), 0))
        self.assertIn("/fd/", started.path)

    def test_not_in_memory(self) -> None:
        """An argument that nobody has looked at yet cannot be read, which is said, and the others are."""
        file = Path(self.mktemp()).absolute()
        file.write_bytes(b"unseen\0")
        program = (
            "import ctypes, mmap, os\n"
            "library = ctypes.CDLL(None)\n"
            "library.mmap.restype = ctypes.c_void_p\n"
            f"there = library.mmap(None, 4096, mmap.PROT_READ, mmap.MAP_PRIVATE, os.open({str(file)!r}, 0), 0)\n"
            "words = (ctypes.c_char_p * 4)(b'a', b'b', b'c')\n"
            "ctypes.cast(words, ctypes.POINTER(ctypes.c_void_p))[1] = there\n"
            "library.execve(ctypes.c_void_p(there), words, None)\n"
            "words = (ctypes.c_char_p * 4)(b'a', b'b', b'c')\n"
            f"again = library.mmap(None, 4096, mmap.PROT_READ, mmap.MAP_PRIVATE, os.open({str(file)!r}, 0), 0)\n"
            "ctypes.cast(words, ctypes.POINTER(ctypes.c_void_p))[1] = again\n"
            "library.execve(b'/bin/true', words, None)"
        )
        absent, started = commands(self.python(layout.COMMAND, program)[0])[1:]
        self.assertEqual((absent.path, absent.unread, absent.return_code), ("", True, -2))
        self.assertEqual((started.argv, started.unread, started.return_code), (("a", "", "c"), True, 0))

    def test_another_account(self) -> None:
        """Who becomes another account stays in the session."""
        found = commands(self.followed(layout.COMMAND, "setpriv", "--reuid", "65534", "--clear-groups", "/bin/true")[0])
        self.assertEqual(found[-1].path, "/bin/true")


class DiskTests(FollowingCase):
    def setUp(self) -> None:
        super().setUp()
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()

    def opened(self, program: str) -> list[tuple[str, int, bool]]:
        """Names in our folder, flags, and whether it went well."""
        found = opened(self.python(layout.DISK, f"import ctypes, os\nos.chdir({str(self.folder)!r})\n{program}")[0])
        here = [each for each in found if each.path.startswith(str(self.folder)) or "/" not in each.path]
        return [(each.path, each.flags, each.return_code >= 0) for each in here]

    def test_calls(self) -> None:
        """Each call that opens, with what it asked for and how that went."""
        flags = os.O_RDONLY | os.O_CLOEXEC
        self.assertEqual(
            self.opened(
                "try: os.open('absent', os.O_RDONLY)\n"
                "except OSError: pass\n"
                "os.open('new', os.O_WRONLY | os.O_CREAT)\n"
                f"os.open({str(self.folder / 'new')!r}, os.O_RDONLY)"
            ),
            [
                ("absent", flags, False),
                ("new", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, True),
                (str(self.folder / "new"), flags, True),
            ],
        )

    def test_openat2(self) -> None:
        """Its flags are in the memory of the program."""
        program = (
            "how = (ctypes.c_uint64 * 3)(os.O_WRONLY | os.O_CREAT, 0o600, 0)\n"
            "assert ctypes.CDLL(None).syscall(437, -100, b'made', ctypes.byref(how), 24) >= 0"
        )
        self.assertEqual(self.opened(program), [("made", os.O_WRONLY | os.O_CREAT, True)])

    def test_creat(self) -> None:
        """The oldest one, where the machine has it."""
        program = "if os.uname().machine == 'x86_64': assert ctypes.CDLL(None).syscall(85, b'made', 0o600) >= 0"
        wanted = [("made", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, True)] if os.uname().machine == "x86_64" else []
        self.assertEqual(self.opened(program), wanted)

    def test_long_name(self) -> None:
        (found,) = self.opened("try: os.open('n' * 3000, os.O_RDONLY)\nexcept OSError: pass")
        self.assertEqual(found[0], "n" * (layout.MAX_PATH_BYTES - 1))

    def test_too_many(self) -> None:
        """Each is recorded or counted, and no session gets more than its share."""
        times, began = 20_000, time.monotonic()
        program = f"for _ in range({times}):\n try: os.open('absent', os.O_RDONLY)\n except OSError: pass"
        found, unseen = self.python(layout.DISK, f"import os\n{program}")
        self.assertGreater(unseen.records[layout.DISK], 0)
        self.assertGreaterEqual(len(found) + unseen.records[layout.DISK], times)
        periods = (time.monotonic() - began) // layout.PERIOD_S + 1
        self.assertLessEqual(len(found), periods * layout.MAX_PER_PERIOD[layout.DISK])
        self.assertEqual(unseen.records[layout.COMMAND], 0)


class NetworkTests(FollowingCase):
    def connected(self, host: str, port: int) -> list[Connected]:
        family = "AF_INET6" if ":" in host else "AF_INET"
        program = (
            f"import socket\ntry: socket.socket(socket.{family}).connect(({host!r}, {port}))\nexcept OSError: pass"
        )
        return connected(self.python(layout.NETWORK, program)[0])

    def listening(self, family: socket.AddressFamily, host: str) -> int:
        port = socket.socket(family)
        self.addCleanup(port.close)
        port.bind((host, 0))
        port.listen()
        number: int = port.getsockname()[1]
        return number

    def test_ipv4(self) -> None:
        port = self.listening(socket.AF_INET, "127.0.0.1")
        (found,) = self.connected("127.0.0.1", port)
        self.assertEqual(
            (found.src_addr, found.dst_addr, found.dst_port, found.version), ("127.0.0.1", "127.0.0.1", port, 4)
        )

    def test_ipv6(self) -> None:
        port = self.listening(socket.AF_INET6, "::1")
        (found,) = self.connected("::1", port)
        self.assertEqual((found.src_addr, found.dst_addr, found.dst_port, found.version), ("::1", "::1", port, 6))

    def test_mapped(self) -> None:
        """A socket of IPv6 that speaks IPv4 says so."""
        port = self.listening(socket.AF_INET, "127.0.0.1")
        (found,) = self.connected("::ffff:127.0.0.1", port)
        self.assertEqual((found.src_addr, found.dst_addr, found.version), ("127.0.0.1", "127.0.0.1", 4))

    def test_refused(self) -> None:
        """Nobody listens there: it was tried all the same."""
        (found,) = self.connected("127.0.0.1", 1)
        self.assertEqual((found.dst_addr, found.dst_port), ("127.0.0.1", 1))


class SessionTests(FollowingCase):
    SHELL = ("/bin/sh", "-c", "/bin/cat /etc/hostname")

    def test_kinds(self) -> None:
        """What nobody asked for is not recorded."""
        for kinds, sorts in (
            (layout.COMMAND, {layout.STARTING, layout.HAS_STARTED}),
            (layout.DISK, {layout.OPENED}),
            (layout.NETWORK, set()),
            (EVERYTHING, {layout.STARTING, layout.HAS_STARTED, layout.OPENED}),
            (0, set()),
        ):
            found, unseen = self.followed(kinds, *self.SHELL)
            self.assertEqual({read_head(record).sort for record in found}, sorts)
            self.assertEqual((sum(unseen.records.values()), unseen.threads), (0, 0))

    def test_apart(self) -> None:
        """Each session has its own records, and who is in none leaves none."""
        one, other = self.follow(layout.COMMAND), self.follow(layout.COMMAND)
        self.run_in(one, ["/bin/true"])
        subprocess.run(["/bin/true"], check=True)
        self.run_in(other, ["/bin/echo"])
        everything = [record for ring in self.tracer.rings.values() for record in ring.records(1 << 30)]
        sessions = [(read_head(record).session, read_head(record).program) for record in everything]
        self.assertEqual([each for each in sessions if each[1] == "true"], [(one, "true")])
        self.assertEqual([each for each in sessions if each[1] == "echo"], [(other, "echo")])
        self.assertLessEqual({number for number, _ in sessions}, {one, other})

    def test_gone(self) -> None:
        """A thread that has ended is forgotten, as its number may be another's."""
        number = self.follow(layout.COMMAND)
        process = self.start_in(number, ["/bin/cat"])
        key = process.pid.to_bytes(4, "little")
        self.assertIsNotNone(kernel.look_up(self.tracer.threads, key, layout.THREAD.size))
        process.communicate()
        self.assertIsNone(kernel.look_up(self.tracer.threads, key, layout.THREAD.size))

    def test_over(self) -> None:
        """What is left of a session that is over is not followed."""
        number = self.follow(EVERYTHING)
        self.tracer.forget(number)
        self.run_in(number, self.SHELL)
        self.assertEqual(self.recorded(number), [])
        self.assertEqual(self.tracer.unseen(number).records, dict.fromkeys(layout.KINDS, 0))

    def test_descriptors(self) -> None:
        """No program of a session inherits anything of ours."""
        number = self.follow(EVERYTHING)
        self.assertEqual(len(self.run_in(number, ["/bin/ls", "/proc/self/fd"]).stdout.split()), 4)
        self.recorded(number)


def _descriptors() -> set[int]:
    """Those of this process, without the one that finds them."""
    return {int(each) for each in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{each}")}


class OwnTracerTests(SynchronousTestCase):
    """Those that need one of their own."""

    def test_descriptors(self) -> None:
        """All of them are closed at the end, and none is inherited before."""
        before = _descriptors()
        tracer = make_tracer()
        ours = _descriptors() - before
        self.assertTrue(all(fcntl.fcntl(fd, fcntl.F_GETFD) & fcntl.FD_CLOEXEC for fd in ours))
        tracer.close()
        self.assertEqual(_descriptors(), before)
        self.assertGreater(len(ours), 10)


class FullRingTests(FollowingCase):
    def setUp(self) -> None:
        self.tracer = make_tracer(Sizes(1, 1, 1))
        self.addCleanup(self.tracer.close)

    def test_counted(self) -> None:
        """What finds no room in a ring is counted, and what comes after it was read is recorded again."""
        program = "import os\nfor _ in range(100):\n try: os.open('absent', os.O_RDONLY)\n except OSError: pass"
        found, unseen = self.python(layout.DISK, program)
        self.assertGreater(unseen.records[layout.DISK], 0)
        self.assertGreaterEqual(len(found) + unseen.records[layout.DISK], 100)
        self.assertEqual(len(opened(self.followed(layout.DISK, "/bin/cat", "/nowhere")[0])[-1:]), 1)


class FullMapTests(FollowingCase):
    def setUp(self) -> None:
        self.patch(layout, "MAX_THREADS", 4)
        self.tracer = make_tracer()
        self.addCleanup(self.tracer.close)

    def test_counted(self) -> None:
        """Threads that are too many are not followed, and counted."""
        program = (
            "import threading\n"
            "over = threading.Event()\n"
            "threads = [threading.Thread(target=over.wait) for _ in range(200)]\n"
            "for each in threads: each.start()\n"
            "over.set()"
        )
        _, unseen = self.python(layout.COMMAND, program)
        self.assertGreater(unseen.threads, 0)

    def test_process(self) -> None:
        """What a thread connects to that is not known itself is its process's, as with the kernel's own threads."""
        program = (
            "import socket, threading\n"
            "over = threading.Event()\n"
            "for _ in range(200): threading.Thread(target=over.wait).start()\n"
            "def connect(): socket.socket().connect_ex(('127.0.0.1', 1)); over.set()\n"
            "threading.Thread(target=connect).start()"
        )
        found, _ = self.python(layout.NETWORK, program)
        self.assertEqual([each.dst_port for each in connected(found)], [1])
        heads = [read_head(record) for record in found]
        self.assertTrue(all(head.thread != head.pid for head in heads))
