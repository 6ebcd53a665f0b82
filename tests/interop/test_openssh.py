"""OpenSSH's ``ssh`` through the proxy, by ProxyJump and by the subsystem ``proxy:``: what runs on the node."""

from __future__ import annotations

import hashlib
import os
import pwd
import uuid
from pathlib import Path

from tests.interop.case import InteropTests
from tests.interop.cluster import CLUSTER_NAME, LOGIN
from tests.interop.person import background
from tests.interop.programs import DEADLINE_S, Done, eventually, run
from tests.interop.requirements import require
from tests.interop.services import Service
from tests.interop.shared import alice, quiet_cluster
from tests.interop.terminals import Terminal

EIGHT_MB = 8_000_000
#: What ssh exits with where the command was ended by a signal, or ssh itself failed.
SSH_FAILED = 255
#: 1 to 31, as a mask; those above are glibc's own, and real-time ones.
SIGNALS = (1 << 31) - 1


class JumpTests(InteropTests):
    """By ProxyJump: ``ssh -J proxy web1``."""

    size = EIGHT_MB

    def config(self) -> Path:
        return alice().jump_config

    def node(self) -> Service:
        """What is called ``web1`` there."""
        return quiet_cluster().nodes["web1"]

    def ssh(self, *words: str, stdin: bytes = b"") -> Done:
        return alice().ssh(*words, config=self.config(), stdin=stdin)

    def terminal(self, *words: str, rows: int = 24, cols: int = 80) -> Terminal:
        return Terminal(require("ssh", "openssh-client"), "-F", str(self.config()), *words, rows=rows, cols=cols)

    def test_command(self) -> None:
        """Output, errors and exit status are those of the command, and nothing else is said or asked."""
        done = self.ssh("web1", "echo out; echo err >&2; exit 7")
        self.assertEqual((done.out, done.err, done.code), (b"out\n", b"err\n", 7))

    def test_signal(self) -> None:
        """A command that a signal ends has no exit status."""
        self.assertEqual(self.ssh("web1", "kill -TERM $$").code, SSH_FAILED)

    def test_script_on_stdin(self) -> None:
        """Without a command and without a terminal, the shell reads what comes."""
        done = self.ssh("-T", "web1", stdin=b"echo one\necho $((1 + 1))\nexit 3\n")
        self.assertEqual((done.out, done.code), (b"one\n2\n", 3), done)

    def test_stdin_reaches_the_command(self) -> None:
        """To its end, which the command sees."""
        done = self.ssh("web1", "wc -c; echo end", stdin=b"x" * 1000)
        self.assertEqual(done.text.split(), ["1000", "end"], done)

    def test_no_stdin(self) -> None:
        """``ssh -n`` gives a command that reads nothing to read."""
        self.assertEqual(self.ssh("-n", "web1", "cat; echo end").text, "end\n")

    def test_terminal(self) -> None:
        """``-tt`` gives the command a terminal of its own, of the size of the client's."""
        with self.terminal("-tt", "web1", "tty; stty size; echo $TERM; exit 5", rows=33, cols=101) as terminal:
            self.assertEqual(terminal.ended(), 5)
        said = terminal.seen.decode().splitlines()
        self.assertEqual([line for line in said if "/dev/pts/" in line and line == said[0]], said[:1], said)
        self.assertEqual(said[1:3], ["33 101", "xterm"], said)

    def test_shell_on_a_terminal(self) -> None:
        """Without a command there is a login shell, with a prompt, job control and an end."""
        with self.terminal("web1") as terminal:
            terminal.type("PS1='pro''mpt> '\r")
            terminal.read_until(b"prompt> ")
            terminal.type("shopt -q login_shell && echo lo''gin\r")
            terminal.read_until(b"login\r\n")
            terminal.read_until(b"prompt> ")
            terminal.type("sh -c \"echo sl''eeping; exec sleep 1000\"\r")  # who says it is in the foreground by then
            terminal.read_until(b"sleeping\r\n")
            terminal.type("\x03")
            terminal.read_until(b"prompt> ")
            terminal.type("echo st''atus $?\r")
            terminal.read_until(b"status 130\r\n")
            terminal.type("exit 4\r")
            self.assertEqual(terminal.ended(), 4)

    def test_window_change(self) -> None:
        """A terminal that changes its size changes that of the session."""
        with self.terminal(
            "-tt", "web1", "trap 'stty size' WINCH; echo ready; while :; do sleep 0.05; done"
        ) as terminal:
            terminal.read_until(b"ready\r\n")
            terminal.resize(40, 132)
            terminal.read_until(b"40 132\r\n")

    def test_large_output(self) -> None:
        """All of it arrives."""
        done = self.ssh("web1", f"head -c {self.size} /dev/zero")
        self.assertEqual((len(done.out), done.out.count(0), done.code), (self.size, self.size, 0), done.complaint)

    def test_large_input(self) -> None:
        """All of it arrives, as it was."""
        data = os.urandom(self.size)
        done = self.ssh("web1", "sha256sum", stdin=data)
        self.assertEqual(done.text.split()[0], hashlib.sha256(data).hexdigest(), done.complaint)

    def test_large_both_ways(self) -> None:
        """What is sent and comes back at once does not get stuck."""
        data = os.urandom(self.size)
        self.assertEqual(self.ssh("web1", "cat", stdin=data).out, data)

    def test_reader_that_has_enough(self) -> None:
        """A writer on the node ends when its reader does, there or here."""
        self.assertEqual(self.ssh("web1", "yes | head -1").text, "y\n")
        with background("-F", str(self.config()), "web1", "yes") as ssh:
            assert ssh.stdout is not None
            self.assertEqual(ssh.stdout.readline(), b"y\n")
            ssh.stdout.close()
            self.assertNotEqual(ssh.wait(DEADLINE_S), 0)

    def test_client_that_goes_away(self) -> None:
        """The command does not outlive the connection, though it may write for ever."""
        name = f"interop-{uuid.uuid4()}"
        with background("-F", str(self.config()), "web1", f"exec -a {name} yes") as ssh:
            assert ssh.stdout is not None
            self.assertEqual(ssh.stdout.readline(), b"y\n")
            self.assertEqual(run(require("pgrep", "procps"), "-cf", f"^{name}").text, "1\n")
        eventually(lambda: run(require("pgrep", "procps"), "-cf", f"^{name}").text == "0\n", "the command has ended")

    def test_environment(self) -> None:
        """The session says where it is and for whom; the client may set locale and little more."""
        allowed, forbidden = {"LC_TIME": "C", "GIT_PROTOCOL": "version=2"}, {"LD_PRELOAD": "/evil.so", "PS4": "evil"}
        sent = [f"SetEnv={' '.join(f'{name}={value}' for name, value in (allowed | forbidden).items())}"]
        done = self.ssh("-o", *sent, "web1", "env")
        found = dict(line.split("=", 1) for line in done.text.splitlines() if "=" in line)
        self.assertEqual({name: found.get(name) for name in (*allowed, *forbidden)}, allowed | dict.fromkeys(forbidden))
        self.assertEqual(found["SSH_TELEPORT_USER"], "alice")
        self.assertEqual(found["SSH_TELEPORT_HOST_UUID"], self.node().host_uuid)
        self.assertEqual(found["SSH_TELEPORT_CLUSTER_NAME"], CLUSTER_NAME)
        account = pwd.getpwnam(LOGIN)
        self.assertEqual([found[name] for name in ("USER", "LOGNAME", "HOME", "SHELL")],
                         [LOGIN, LOGIN, account.pw_dir, account.pw_shell])  # fmt: skip

    def test_working_folder(self) -> None:
        """A session begins at home."""
        self.assertEqual(self.ssh("web1", "pwd -P").text.strip(), str(Path(pwd.getpwnam(LOGIN).pw_dir).resolve()))

    def test_nothing_of_the_service_is_inherited(self) -> None:
        """No open files but the three (and what ``ls`` reads), no signals that are ignored, and the usual umask."""
        self.assertEqual(self.ssh("web1", "ls /proc/self/fd").text.split(), ["0", "1", "2", "3"])
        ignored = int(self.ssh("web1", "grep SigIgn /proc/self/status").text.split()[1], 16)
        self.assertEqual(ignored & SIGNALS, 0)
        self.assertEqual(self.ssh("web1", "umask").text, "0022\n")

    def test_only_sftp_is_a_subsystem(self) -> None:
        """Another one is refused."""
        done = self.ssh("-s", "web1", "no-such-subsystem")
        self.assertEqual(done.code, SSH_FAILED)
        self.assertIn("This node has the subsystem sftp, and no other.", done.complaint)

    def test_no_shell_on_the_proxy(self) -> None:
        """The proxy is a door, and says so."""
        done = self.ssh("proxy", "id")
        self.assertNotEqual(done.code, 0)
        self.assertNotIn("uid=", done.text)


class SubsystemTests(JumpTests):
    """By ProxyCommand: ``ssh -s proxy proxy:%h:%p``."""

    def config(self) -> Path:
        return alice().command_config


class WordsOfTheIssueTests(InteropTests):
    """The lines that people will type."""

    def test_jump_with_no_other_option(self) -> None:
        """``ssh -J proxy root@web1``, as anybody at the proxy."""
        done = run(
            require("ssh", "openssh-client"), "-F", str(alice().config), "-J", "proxy", f"{LOGIN}@web1", "echo ok"
        )
        self.assertEqual((done.text, done.complaint, done.code), ("ok\n", "", 0))
