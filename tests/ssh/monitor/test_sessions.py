"""Sessions that the monitor's starter makes, from the order to the exit status."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.errors import AccessDenied, BadParameter
from teleport_conch.ssh.monitor import birth
from teleport_conch.ssh.monitor.orders import Program, Terminal
from teleport_conch.ssh.processes.exit_status import ExitStatus
from teleport_conch.ssh.processes.process import Process
from tests.ssh.monitor.servers import Heard, MonitorCase, reactor

TERMINAL = Terminal("xterm", 100, 40, 0, 0, b"")
SLEPT_S = 100_000 + os.getpid()
SIGNALS = (1 << 31) - 1
"""Those below 32: the next two are the C library's own, and ``make`` starts its programs with them ignored."""


def _slept(pid: str) -> bool:
    """Whether a process is one of those that nobody waits for."""
    try:
        return Path("/proc", pid, "cmdline").read_bytes() == b"sleep\0%d\0" % SLEPT_S
    except OSError:
        return False


class BrokerTests(SynchronousTestCase):
    def test_there(self) -> None:
        """The program that makes sockets for an account is where the monitor starts it."""
        self.assertTrue(birth.BROKER.is_file(), birth.BROKER)


class GoneTests(MonitorCase):
    """A client may go while the monitor is being asked for it: what comes then is taken back."""

    async def test_session(self) -> None:
        """Its process is hung up, and no descriptor of it stays."""
        monitor = await self.ready_monitor()
        login = await self.logged_in(monitor)
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(5):
            starting = Deferred.fromCoroutine(login.spawn(Program(f"exec sleep {SLEPT_S}", {})))
            starting.cancel()
            self.failureResultOf(starting, CancelledError)
        # The answers come in their order.
        self.assertEqual((await self.run_to_end(login, Program("exit 1", {})))[1], ExitStatus(code=1))
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)
        self.assertEqual((monitor._asked, monitor._given_up), ({}, {}))
        while any(_slept(each) for each in os.listdir("/proc")):
            await deferLater(reactor, 0.01)

    async def test_login(self) -> None:
        """The monitor does not keep a login that nobody leaves."""
        monitor = await self.ready_monitor()
        logging_in = Deferred.fromCoroutine(monitor.log_in(await self.proof(monitor), "127.0.0.1"))
        logging_in.cancel()
        self.failureResultOf(logging_in, CancelledError)
        login = await self.logged_in(monitor)
        for number in range(login.number):
            await self.refused(monitor.start(number, Program("id", {})), AccessDenied)
        self.assertEqual((monitor._asked, monitor._given_up), ({}, {}))


class ProgramTests(MonitorCase):
    """What a session's program finds."""

    async def shell(self, script: str, **environment: str) -> str:
        """What a command line writes, when it succeeds without complaint."""
        login = await self.logged_in(await self.ready_monitor())
        heard, status = await self.run_to_end(login, Program(script, environment))
        self.assertEqual((heard.error, status), (b"", ExitStatus(code=0)))
        return heard.output.decode()

    async def test_environment(self) -> None:
        """What the server gave, and the account's own variables, which nobody can give."""
        found = await self.shell("env -0", GIVEN="a 'b'\n$(id)", HOME="/elsewhere", USER="somebody")
        variables = dict(each.split("=", 1) for each in found.split("\0") if each)
        self.assertEqual(variables["GIVEN"], "a 'b'\n$(id)")
        self.assertNotEqual(variables["HOME"], "/elsewhere")
        self.assertNotEqual(variables["USER"], "somebody")

    async def test_descriptors(self) -> None:
        """Three pipes, and nothing that the monitor or the starter has open."""
        self.assertEqual((await self.shell("exec ls /proc/self/fd")).split(), ["0", "1", "2", "3"])

    async def test_process(self) -> None:
        """The leader of a session of its own, with a usual umask and default signals."""
        found = await self.shell("umask; ps -o pid=,sid=,pgid= -p $$; grep Sig[IB] /proc/$$/status")
        umask, ids, blocked, ignored = found.splitlines()
        self.assertEqual(umask, "0022")
        self.assertEqual(len(set(ids.split())), 1)
        self.assertEqual([int(line.split()[1], 16) & SIGNALS for line in (blocked, ignored)], [0, 0])

    async def test_ignored_signals(self) -> None:
        """What whoever started the server ignores, sessions do not."""
        for each in (signal.SIGQUIT, signal.SIGUSR1, signal.SIGHUP):
            self.addCleanup(signal.signal, each, signal.signal(each, signal.SIG_IGN))
        ignored = (await self.shell("grep SigIgn /proc/$$/status")).split()[1]
        self.assertEqual(int(ignored, 16) & SIGNALS, 0)

    async def test_name(self) -> None:
        """A command's shell is called by its name; a login shell has a hyphen in front of it."""
        monitor = await self.ready_monitor()
        login = await self.logged_in(monitor)
        heard, _ = await self.run_to_end(login, Program("echo $0", {}))
        self.assertEqual(heard.output.strip(), os.path.basename(login_shell()).encode())
        heard = Heard()
        process = Process(reactor, reactor, await login.spawn(Program(None, {})), heard)
        process.write(b"echo $0\nexit 7\n")
        self.assertEqual(await heard.ended, ExitStatus(code=7))
        self.assertEqual(heard.output.split()[-1], f"-{os.path.basename(login_shell())}".encode())

    async def test_large_output(self) -> None:
        """Nothing is lost between the end of the process and the end of its output."""
        login = await self.logged_in(await self.ready_monitor())
        heard, _ = await self.run_to_end(login, Program("head -c 8000000 /dev/zero", {}))
        self.assertEqual(len(heard.output), 8_000_000)


class EndTests(MonitorCase):
    """How sessions end."""

    async def test_code(self) -> None:
        login = await self.logged_in(await self.ready_monitor())
        self.assertEqual((await self.run_to_end(login, Program("exit 9", {})))[1], ExitStatus(code=9))

    async def test_killed(self) -> None:
        login = await self.logged_in(await self.ready_monitor())
        ended = (await self.run_to_end(login, Program("kill -9 $$", {})))[1]
        self.assertEqual(ended, ExitStatus(code=None, signal="KILL"))

    async def test_signal(self) -> None:
        """A signal reaches the process group, by way of the starter."""
        login = await self.logged_in(await self.ready_monitor())
        heard = Heard()
        process = Process(reactor, reactor, await login.spawn(Program("echo on; sleep 60", {})), heard)
        process.send_signal("TERM")
        self.assertEqual(await heard.ended, ExitStatus(code=None, signal="TERM"))

    async def test_signal_of_another(self) -> None:
        """A number that is no session of this server's reaches nobody."""
        monitor = await self.ready_monitor()
        login = await self.logged_in(monitor)
        monitor.signal(1, signal.SIGKILL)
        monitor.signal(4_000_000_000, signal.SIGKILL)
        self.assertEqual((await self.run_to_end(login, Program("exit 3", {})))[1], ExitStatus(code=3))

    async def test_monitor_goes(self) -> None:
        """The monitor ends with its server, and waits for nobody; its starter for the sessions that run on."""
        monitor = await self.ready_monitor()
        login = await self.logged_in(monitor)
        running = await login.spawn(Program("trap '' HUP; echo on; sleep 60", {}))
        os.read(running.output, 3)
        monitor.close()
        self.assertTrue(os.path.exists(f"/proc/{running.pid}"))
        os.killpg(running.pid, signal.SIGKILL)
        for fd in (running.input, running.output, running.error):
            assert fd is not None
            os.close(fd)


class TerminalTests(MonitorCase):
    """Sessions with a terminal."""

    async def test_terminal(self) -> None:
        """The controlling one, of the wanted size and type, and its name is in the environment."""
        login = await self.logged_in(await self.ready_monitor())
        heard = Heard()
        script = "stty size; test $(tty) = $SSH_TTY && echo same; echo $TERM > /dev/tty"
        Process(reactor, reactor, await login.spawn(Program(script, {}, TERMINAL)), heard)
        self.assertEqual(await heard.ended, ExitStatus(code=0))
        self.assertEqual(heard.output, b"40 100\r\nsame\r\nxterm\r\n")

    async def test_resize(self) -> None:
        """The server sets the size through its side of the terminal."""
        login = await self.logged_in(await self.ready_monitor())
        heard = Heard()
        script = 'until [ "$(stty size)" = "50 132" ]; do sleep .05; done; echo seen'
        process = Process(reactor, reactor, await login.spawn(Program(script, {}, TERMINAL)), heard)
        process.resize(50, 132, 0, 0)
        self.assertEqual((await heard.ended, heard.output), (ExitStatus(code=0), b"seen\r\n"))

    async def test_malformed_modes(self) -> None:
        login = await self.logged_in(await self.ready_monitor())
        wanted = Program("true", {}, TERMINAL._replace(modes=b"\x01\0"))
        sentence = await self.refused(login.spawn(wanted), BadParameter)
        self.assertEqual(
            sentence, "This host could not prepare a terminal: The terminal modes end in the middle of an argument."
        )

    async def test_permission(self) -> None:
        """A certificate that does not permit a terminal gets none from the monitor, whatever the server thinks."""
        login = await self.logged_in(await self.ready_monitor(), extensions=())
        sentence = await self.refused(login.spawn(Program("true", {}, TERMINAL)), AccessDenied)
        self.assertEqual(sentence, "The certificate does not permit a terminal.")


def login_shell() -> str:
    import pwd

    return pwd.getpwuid(os.geteuid()).pw_shell
