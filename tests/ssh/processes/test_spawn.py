"""Processes as accounts of this host, by posix_spawn: what they inherit, and what they do not."""

from __future__ import annotations

import os
import pwd
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence

from attrs import evolve, frozen
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.errors import AccessDenied, BadParameter, SpawnFailed
from teleport_conch.ssh.account import Account, lookup
from teleport_conch.ssh.processes import spawn as spawning
from teleport_conch.ssh.processes.spawn import privileges, spawn
from teleport_conch.ssh.processes.terminal import Terminal

NOT_ROOT = "Only root starts processes of other accounts."


@frozen
class Outcome:
    """What a short program wrote, and its exit code."""

    output: str
    error: str
    code: int


def own_account() -> Account:
    """The account that runs the tests, with a home that exists."""
    return evolve(lookup(pwd.getpwuid(os.geteuid()).pw_name), home="/")


def other_account() -> Account:
    """An account that is not ours, with a home that exists."""
    return evolve(lookup("nobody"), home="/tmp")


class SpawnCase(SynchronousTestCase):
    """Runs short programs to their end."""

    def run_to_end(
        self,
        argv: Sequence[str],
        environment: Mapping[str, str] | None = None,
        account: Account | None = None,
        login_shell: bool = False,
    ) -> Outcome:
        spawned = spawn(account or own_account(), argv, environment or {}, login_shell=login_shell, terminal=None)
        os.close(spawned.input)
        assert spawned.error is not None
        with os.fdopen(spawned.output, "rb") as output, os.fdopen(spawned.error, "rb") as error:
            heard = output.read(), error.read()
        _, status = os.waitpid(spawned.pid, 0)
        return Outcome(os.fsdecode(heard[0]), os.fsdecode(heard[1]), os.waitstatus_to_exitcode(status))

    def shell(self, script: str, account: Account | None = None) -> str:
        """What a script of /bin/sh writes, when it succeeds without complaint."""
        outcome = self.run_to_end(["/bin/sh", "-c", script], account=account)
        self.assertEqual((outcome.error, outcome.code), ("", 0))
        return outcome.output

    def open_descriptors(self) -> int:
        return len(os.listdir("/proc/self/fd"))


class InheritanceTests(SpawnCase):
    """What a session's program finds."""

    def test_environment(self) -> None:
        """The environment is what was given, a PATH, and the PWD of the shell in front; quoting changes nothing."""
        given = {"HOME": "/", "QUOTES": "a 'b' \"c\" \\ $(id) `id` ${HOME}", "EMPTY": "", "LINES": "one\ntwo"}
        found = self.run_to_end(["/usr/bin/env", "-0"], given).output.split("\0")
        expected = [f"{name}={value}" for name, value in given.items()]
        self.assertEqual(sorted(found), sorted([*expected, "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "PWD=/", ""]))

    def test_environment_path(self) -> None:
        """A PATH that was given is the one."""
        self.assertIn("PATH=/opt\0", self.run_to_end(["/usr/bin/env", "-0"], {"PATH": "/opt"}).output)

    def test_environment_any_bytes(self) -> None:
        """Values need not be text."""
        value = os.fsdecode(bytes(range(1, 256)))
        self.assertIn(f"ODD={value}\0", self.run_to_end(["/usr/bin/env", "-0"], {"ODD": value}).output)

    def test_arguments_any_bytes(self) -> None:
        """Nor need arguments, and options among them are the program's."""
        arguments = ["-n", "--", "", "$(id)", os.fsdecode(bytes(range(1, 256)))]
        outcome = self.run_to_end(["/usr/bin/printf", "%s\\0", *arguments])
        self.assertEqual(outcome.output.split("\0"), [*arguments, ""])

    def test_dangerous_variable_meets_the_program_only(self) -> None:
        """The loader complains once for each program that sees LD_PRELOAD: the last of the chain alone does."""
        outcome = self.run_to_end(["/bin/true"], {"LD_PRELOAD": "/nowhere.so"})
        self.assertEqual(outcome.error.count("LD_PRELOAD"), 1)

    def test_a_variable_cannot_replace_another(self) -> None:
        """Names that the trampoline uses itself are refused."""
        name = f"{spawning._CARRIER}1"
        refusal = self.assertRaises(BadParameter, self.run_to_end, ["/bin/true"], {name: "PATH=/evil"})
        self.assertEqual(refusal.sentence, "A variable of the session has a name that no variable can have.")

    def test_variable_names(self) -> None:
        """So is what a shell would read as something else."""
        for name in ("", "1A", "A-B", "A=B", "A;id", "A B", "\u00c4", "A\n"):
            self.assertRaises(BadParameter, self.run_to_end, ["/bin/true"], {name: "x"})

    def test_environment_is_not_in_an_argument_list(self) -> None:
        """Argument lists can be read by every account of the host."""
        words = spawning._trampoline(own_account(), ["/bin/true"], {"SECRET": "hush"}, False)
        self.assertNotIn("hush", " ".join(words))

    def test_privileged_environment(self) -> None:
        """The names that root's part of the chain sees are PATH and our own."""
        names = {"PATH", *spawning._carriers({"LD_PRELOAD": "x", "HOME": "/"})}
        self.assertEqual(names, {"PATH", "_teleport_conch_session_0", "_teleport_conch_session_1"})

    def test_signals(self) -> None:
        """No signal is ignored or blocked that we ignore or block ourselves."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
        self.addCleanup(signal.pthread_sigmask, signal.SIG_SETMASK, before)
        hang_up = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self.addCleanup(signal.signal, signal.SIGHUP, hang_up)
        status = self.run_to_end(["/bin/cat", "/proc/self/status"]).output
        masks = dict(line.split(":\t") for line in status.splitlines() if line.startswith("Sig"))
        usual = (1 << 31) - 1
        self.assertEqual(int(masks["SigIgn"], 16) & usual, 0)
        self.assertEqual(int(masks["SigBlk"], 16), 0)

    def test_session_and_group(self) -> None:
        """The program leads a new session and process group."""
        spawned = spawn(own_account(), ["/bin/cat"], {}, login_shell=False, terminal=None)
        try:
            self.assertEqual((os.getsid(spawned.pid), os.getpgid(spawned.pid)), (spawned.pid, spawned.pid))
        finally:
            for fd in (spawned.input, spawned.output, spawned.error):
                assert fd is not None
                os.close(fd)
            os.waitpid(spawned.pid, 0)

    def test_umask_and_directory(self) -> None:
        """Files are made as a login makes them, in the home directory, whatever the service runs with."""
        before = os.umask(0o077)
        self.addCleanup(os.umask, before)
        self.assertEqual(self.shell("umask; pwd", evolve(own_account(), home="/usr/lib")), "0022\n/usr/lib\n")

    def test_missing_home(self) -> None:
        """A missing home is said, and is no obstacle."""
        outcome = self.run_to_end(["/bin/pwd"], account=evolve(own_account(), home="/no where"))
        self.assertEqual(outcome, Outcome("/\n", "Could not change to the home directory /no where.\n", 0))

    def test_descriptors(self) -> None:
        """Three pipes, and nothing that this process has open."""
        with open("/dev/null") as kept:
            self.assertGreater(kept.fileno(), 2)
            listed = self.shell("exec ls /proc/self/fd").split()
        self.assertEqual(listed, ["0", "1", "2", "3"], "3 is the folder that ls reads")

    def test_descriptors_from_before(self) -> None:
        """What the service itself inherited, such as a socket from systemd, is not passed on."""
        program = (
            "import os, sys, tests.ssh.processes.test_spawn as t\n"
            "s = t.spawn(t.own_account(), ['/bin/ls', '/proc/self/fd'], {}, login_shell=False, terminal=None)\n"
            "print(os.get_inheritable(int(sys.argv[1])), os.read(s.output, 999).split())\n"
            "os.waitpid(s.pid, 0)"
        )
        read, write = os.pipe()
        try:
            answer = subprocess.run(
                [sys.executable, "-c", program, str(read)],
                pass_fds=(read,),
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
                capture_output=True,
                check=True,
                text=True,
            )
        finally:
            os.close(read)
            os.close(write)
        self.assertEqual(answer.stdout, "False [b'0', b'1', b'2', b'3']\n")

    def test_nothing_stays_open_here(self) -> None:
        """Our side holds three descriptors of a process and no more."""
        before = self.open_descriptors()
        spawned = spawn(own_account(), ["/bin/true"], {}, login_shell=False, terminal=None)
        self.assertEqual(self.open_descriptors(), before + 3)
        for fd in (spawned.input, spawned.output, spawned.error):
            assert fd is not None
            self.assertFalse(os.get_inheritable(fd))
            os.close(fd)
        os.waitpid(spawned.pid, 0)


class LoginShellTests(SpawnCase):
    """How a shell learns that it is a login shell."""

    def test_known_shell(self) -> None:
        """A shell that takes -l gets it."""
        outcome = self.run_to_end(["/bin/bash", "-c", "shopt login_shell"], login_shell=True)
        self.assertEqual(outcome.output.split(), ["login_shell", "on"])

    def test_unknown_program(self) -> None:
        """A program that is no such shell gets its arguments unchanged."""
        with tempfile.TemporaryDirectory() as folder:
            script = os.path.join(folder, "menu")
            with open(script, "w") as file:
                file.write('#!/bin/sh\necho "$# arguments"\n')
            os.chmod(script, 0o700)
            outcome = self.run_to_end([script], login_shell=True)
        self.assertEqual(outcome.output, "0 arguments\n")

    def test_not_a_login(self) -> None:
        """A command's shell is none."""
        outcome = self.run_to_end(["/bin/bash", "-c", "shopt login_shell"])
        self.assertEqual(outcome.output.split(), ["login_shell", "off"])


class OtherAccountTests(SpawnCase):
    """Processes of another account, started by root."""

    def setUp(self) -> None:
        if os.geteuid() != 0:
            self.skipTest(NOT_ROOT)

    def test_identity(self) -> None:
        """All user and group ids are the account's, and so are the supplementary groups."""
        account = other_account()
        status = self.run_to_end(["/bin/cat", "/proc/self/status"], account=account).output
        lines = dict(line.split(":", 1) for line in status.splitlines())
        self.assertEqual(lines["Uid"].split(), [str(account.uid)] * 4)
        self.assertEqual(lines["Gid"].split(), [str(account.gid)] * 4)
        self.assertEqual({int(gid) for gid in lines["Groups"].split()}, set(os.getgrouplist(account.name, account.gid)))
        self.assertEqual([int(lines[name], 16) for name in ("CapPrm", "CapEff", "CapInh", "CapAmb")], [0] * 4)

    def test_home(self) -> None:
        """The directory is entered as the account: one that it may not read is missing to it."""
        with tempfile.TemporaryDirectory() as private:
            account = evolve(other_account(), home=private)
            outcome = self.run_to_end(["/bin/pwd"], account=account)
        self.assertEqual(outcome, Outcome("/\n", f"Could not change to the home directory {private}.\n", 0))

    def test_outputs_by_name(self) -> None:
        """The account may open its own outputs again, as scripts do."""
        outcome = self.run_to_end(
            ["/bin/sh", "-c", "echo a >/dev/stdout; echo b >/dev/stderr"], account=other_account()
        )
        self.assertEqual(outcome, Outcome("a\n", "b\n", 0))


class RefusalTests(SpawnCase):
    """What is not started, and what is said."""

    def test_other_account_without_root(self) -> None:
        """A service of an ordinary account serves that account only."""
        daemon = lookup("daemon")
        refusal = self.assertRaises(AccessDenied, privileges, lookup("root"), daemon.uid)
        self.assertEqual(refusal.sentence, "This service does not run as root and can start sessions only as daemon.")
        self.assertEqual(privileges(daemon, daemon.uid), [])

    def test_other_account_without_root_and_name(self) -> None:
        """Also where our own uid has no name, as in a container."""
        refusal = self.assertRaises(AccessDenied, privileges, lookup("root"), 3_999_999)
        self.assertEqual(
            refusal.sentence,
            "This service does not run as root and can start sessions only as the account with uid 3999999.",
        )

    def test_setpriv_missing(self) -> None:
        """The sentence names the package."""
        self.patch(spawning, "SYSTEM_PATH", "/nowhere")
        refusal = self.assertRaises(SpawnFailed, privileges, lookup("daemon"), 0)
        self.assertEqual(
            refusal.sentence, "Sessions need the program setpriv; install the package util-linux on this host."
        )

    def test_relative_program(self) -> None:
        """No program is searched for, least of all by a trampoline in front of the session's PATH."""
        for argv in ([], ["true"], ["-c"], [""]):
            refusal = self.assertRaises(BadParameter, self.run_to_end, argv)
            self.assertEqual(refusal.sentence, "The program of a session is named by its whole path.")

    def test_nul(self) -> None:
        """A NUL byte would cut the command short."""
        for argv, environment in ((["/bin/echo", "a\0b"], {}), (["/bin/true"], {"A": "a\0b"})):
            refusal = self.assertRaises(BadParameter, self.run_to_end, argv, environment)
            self.assertEqual(
                refusal.sentence, "A command or a variable of the session holds a NUL byte or is not text."
            )

    def test_missing_program(self) -> None:
        """The trampoline says it on standard error, as a shell does."""
        outcome = self.run_to_end(["/nowhere/program"])
        self.assertIn("/nowhere/program: not found", outcome.error.replace("No such file or directory", "not found"))
        self.assertEqual(outcome.code, 127)

    def test_too_long(self) -> None:
        """A command beyond what the kernel takes is refused, and nothing stays open."""
        self.shell("true")
        before = self.open_descriptors()
        refusal = self.assertRaises(SpawnFailed, self.run_to_end, ["/bin/echo", "x" * (8 << 20)])
        self.assertEqual(refusal.sentence, "This host could not start the session: Argument list too long.")
        self.assertEqual(self.open_descriptors(), before)

    def test_no_descriptors_left(self) -> None:
        """At the limit of descriptors, at each of the three pipes, nothing stays open either."""
        self.shell("true")
        before = self.open_descriptors()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        highest = max(int(entry) for entry in os.listdir("/proc/self/fd"))
        for spare in (1, 3, 5):
            resource.setrlimit(resource.RLIMIT_NOFILE, (highest + spare, hard))
            try:
                refusal = self.assertRaises(SpawnFailed, self.fill_and_run, spare)
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            self.assertEqual(refusal.sentence, "This host could not start the session: Too many open files.")
            self.assertEqual(self.open_descriptors(), before)

    def fill_and_run(self, spare: int) -> Outcome:
        """Run with only ``spare`` descriptors to be had."""
        taken = []
        try:
            while True:
                taken.append(os.open("/dev/null", os.O_RDONLY))
        except OSError:
            for fd in taken[-spare:]:
                os.close(fd)
            del taken[-spare:]
        try:
            return self.run_to_end(["/bin/true"])
        finally:
            for fd in taken:
                os.close(fd)

    def test_terminal_when_refused(self) -> None:
        """A start on a terminal that fails leaves the terminal to its owner."""
        terminal = Terminal.open(own_account(), 24, 80)
        before = self.open_descriptors()
        self.assertRaises(
            SpawnFailed,
            spawn,
            own_account(),
            ["/bin/echo", "x" * (8 << 20)],
            {},
            login_shell=False,
            terminal=terminal,
        )
        self.assertEqual(self.open_descriptors(), before)
        terminal.close()
