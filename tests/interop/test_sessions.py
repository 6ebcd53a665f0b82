"""The same login with our node and with OpenSSH's ``sshd``: each difference is shown, and has its explanation here."""

from __future__ import annotations

import re
import sys
import unittest
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from attrs import frozen

from tests.interop.accounts import guest_account, is_root
from tests.interop.case import InteropTests
from tests.interop.certificates import authority_key, signed
from tests.interop.cluster import LOGIN
from tests.interop.person import Person
from tests.interop.programs import Done, check, run
from tests.interop.requirements import require
from tests.interop.shared import quiet_cluster
from tests.interop.sshd import Sshd
from tests.interop.terminals import Terminal

COMMANDS: Mapping[str, str] = {
    "id": "id",
    "umask": "umask",
    "soft limits": "ulimit -a",
    "hard limits": "ulimit -Ha",
    "login uid": "echo $(cat /proc/self/loginuid)",
    "cgroup": "cat /proc/self/cgroup",
    "oom_score_adj": "cat /proc/self/oom_score_adj",
    "nice": "nice",
    "sudo": "sudo -n true 2>&1; echo $?",
    "locale": "locale",
    "PATH": "echo $PATH",
    "names of variables": "env | cut -d= -f1 | sort | xargs",
    "HOME, SHELL, USER, LOGNAME, MAIL": "echo $HOME $SHELL $USER $LOGNAME $MAIL",
    "folder": "pwd",
    "$0": "echo $0",
    "login shell": "shopt login_shell",
    "leader of a session": "ps -o sid= -p $$ | xargs test $$ = && echo yes",
    "descriptors": "exec ls /proc/self/fd",
    "signals": "grep -E 'Sig(Blk|Ign)' /proc/self/status",
    "terminal": "tty",
    "capabilities": "grep Cap /proc/self/status",
    "no new privileges, seccomp": "grep -E 'NoNewPrivs|Seccomp' /proc/self/status",
}


@frozen
class Difference:
    """Why the two may differ in something, and how to see that it is this difference and no other."""

    why: str
    fits: Callable[[str, str], bool]


def _more_names(ours: str, theirs: str) -> bool:
    more = {"SSH_SESSION_ID", "SSH_TELEPORT_USER", "SSH_TELEPORT_HOST_UUID", "SSH_TELEPORT_CLUSTER_NAME"}
    locale = {name for name in ours.split() if name == "LANG" or name.startswith("LC_")}
    return set(ours.split()) - locale == (set(theirs.split()) | more) - locale


_OF_THE_C_LIBRARY = 1 << 31 | 1 << 32


def _same_signals(ours: str, theirs: str) -> bool:
    """The same but for the two signals that the C library keeps for itself (32 and 33)."""
    words = ([int(word, 16) & ~_OF_THE_C_LIBRARY for word in text.split()[1::2]] for text in (ours, theirs))
    return next(words) == next(words)


DIFFERENCES: Mapping[str, Difference] = {
    "signals": Difference(
        "Whoever is started by posix_spawn ignores the C library's own signals, and we have a handler for one of them.",
        _same_signals,
    ),
    "names of variables": Difference(
        "Programs can read where and for whom they run (SSH_TELEPORT_*), and have the host's locale without PAM, too.",
        _more_names,
    ),
    "PATH": Difference(
        "The PATH of sshd was compiled into it; ours is the one of /etc/login.defs. PAM may replace either.",
        lambda ours, theirs: ours.split(":")[0] == "/usr/local/bin",
    ),
    "locale": Difference(
        "Without PAM, sshd gives no locale; ours is the host's, of /etc/default/locale.",
        lambda ours, theirs: "LC_ALL=" in ours,
    ),
    "login uid": Difference(
        "Without PAM, sshd leaves the login uid unset; ours is set, so that audit rules know the person.",
        lambda ours, theirs: theirs == "4294967295" and ours == str(guest_account().pw_uid),
    ),
}
WITH_PAM = frozenset({"names of variables", "PATH", "signals"})
"""What may differ with PAM; without it, all of :data:`DIFFERENCES`."""


@cache
def person() -> Person:
    node_without_pam()
    return quiet_cluster().person("carol", (guest_account().pw_name, LOGIN))


@cache
def node_without_pam() -> str:
    """The name of a node that sets PAM aside."""
    cluster = quiet_cluster()
    cluster.node("plain", settings={"pam": {"enabled": False}}).start()
    cluster.know("plain")
    return "plain"


@cache
def sshd(pam: bool) -> Sshd:
    return Sshd.start(
        quiet_cluster(), f"sshd-{pam}", f"UsePAM {'yes' if pam else 'no'}", f"PrintMotd {'no' if pam else 'yes'}"
    )


class SessionCase(InteropTests):
    """Two servers, and one account that is not root's."""

    def setUp(self) -> None:
        if not is_root():
            raise unittest.SkipTest("only root can start sessions of other accounts")
        if not Path("/etc/pam.d/sshd").exists():
            raise unittest.SkipTest("this host has no PAM service sshd")
        self.login = guest_account().pw_name
        # As useradd leaves it the account is locked to an sshd without PAM.
        self.usermod("--password", "*")

    def usermod(self, *words: str) -> None:
        check(run(require("usermod", "passwd"), *words, self.login))

    def ours(self, pam: bool, *words: str, stdin: bytes = b"") -> Done:
        host = "web1" if pam else node_without_pam()
        return person().ssh(*words[:-1], f"{self.login}@{host}", *words[-1:], stdin=stdin)

    def theirs(self, pam: bool, *words: str, stdin: bytes = b"") -> Done:
        return sshd(pam).ssh(person(), self.login, *words, stdin=stdin)

    def both(self, pam: bool, *words: str, stdin: bytes = b"") -> tuple[Done, Done]:
        return self.ours(pam, *words, stdin=stdin), self.theirs(pam, *words, stdin=stdin)

    def on_terminal(self, pam: bool, ours: bool, typed: str) -> str:
        """What a shell on a terminal shows until it ends."""
        config = ("-F", str(person().jump_config), f"{self.login}@{'web1' if pam else node_without_pam()}")
        words = config if ours else sshd(pam).words(person(), self.login)
        with Terminal(require("ssh", "openssh-client"), "-tt", *words) as terminal:
            shown = terminal.read_until(b"$ ")
            terminal.type(typed)
            terminal.ended()
        return re.sub(r"Connection to .* closed\.\s*$", "", (shown + terminal.seen).decode())


class ComparisonTests(SessionCase):
    """Everything that a program can ask, asked of both."""

    def compare(self, pam: bool) -> None:
        script = "; ".join(
            f"echo '== {name}'; {{ {command}; }} 2>&1" for name, command in COMMANDS.items() if "exec" not in command
        )
        answers = [_parts(done.text) for done in self.both(pam, script)]
        unexplained = []
        sys.stdout.write(f"\nSessions {'with' if pam else 'without'} PAM, ours and those of sshd:\n")
        for name in answers[0]:
            mine, other = (answer[name] for answer in answers)
            difference = DIFFERENCES.get(name) if not pam or name in WITH_PAM else None
            sys.stdout.write(_shown(name, mine, other, difference))
            if mine != other and (difference is None or not difference.fits(mine, other)):
                unexplained.append((name, mine, other))
        self.assertEqual(unexplained, [])

    def test_with_pam(self) -> None:
        self.compare(pam=True)

    def test_without_pam(self) -> None:
        self.compare(pam=False)

    def test_descriptors(self) -> None:
        """0 to 2, and the folder that ``ls`` reads."""
        for pam in (True, False):
            mine, other = self.both(pam, COMMANDS["descriptors"])
            self.assertEqual((mine.text, other.text), ("0\n1\n2\n3\n",) * 2)

    def test_terminal_modes(self) -> None:
        """A terminal is set up alike, and its shell is a login shell by its name."""
        tty = "ps -o tty= -p $$ | xargs -I_ test /dev/_ = $SSH_TTY && echo same"
        script = f"stty -a; echo $0 $TERM; shopt login_shell; {tty}\nexit\n"
        for pam in (True, False):
            mine, other = (self.on_terminal(pam, ours, script).partition("speed ")[2] for ours in (True, False))
            self.assertEqual(mine, other)
            self.assertIn("-bash xterm", mine)

    def test_script_on_stdin(self) -> None:
        """``ssh -T`` without a command is a login shell that reads a script."""
        script = b"echo $0; shopt login_shell; tty; exit 5\n"
        for pam in (True, False):
            mine = person().ssh("-T", f"{self.login}@{'web1' if pam else node_without_pam()}", stdin=script)
            other = self.theirs(pam, stdin=script)
            said = [each.text[each.text.index("-bash") :] for each in (mine, other)]
            self.assertEqual(said[0], said[1])
            self.assertEqual((mine.code, other.code), (5, 5))


class EndTests(SessionCase):
    """What is left behind, and how the client hears of the end."""

    def test_left_in_the_background(self) -> None:
        """A job that gave its output away does not hold the session."""
        for pam in (True, False):
            for done in self.both(pam, "nohup sleep 300 > /dev/null 2>&1 < /dev/null & echo $!"):
                check(done)
                check(run("kill", done.text.strip()))

    def test_tmux(self) -> None:
        """A program that left the session's terminal outlives it."""
        tmux = f"{require('tmux', 'tmux')} -L tc{guest_account().pw_uid}"
        for pam in (True, False):
            config = ("-F", str(person().jump_config), "-tt", f"{self.login}@{'web1' if pam else node_without_pam()}")
            with Terminal(require("ssh", "openssh-client"), *config, f"{tmux} new -s kept") as terminal:
                terminal.read_until(b"kept")
            check(self.ours(pam, f"{tmux} ls"))
            check(self.ours(pam, f"{tmux} kill-server"))

    def test_killed_by_a_signal(self) -> None:
        for pam in (True, False):
            mine, other = self.both(pam, "kill -TERM $$")
            self.assertEqual((mine.code, other.code), (255, 255))


class GreetingTests(SessionCase):
    """What a person reads before the first prompt."""

    def test_motd_and_last_login(self) -> None:
        """The same lines, but for the moment of the last login."""
        for pam in (True, False):
            self.on_terminal(pam, False, "exit\n")
            mine, other = (self.on_terminal(pam, ours, "exit\n") for ours in (True, False))
            self.assertEqual(_greeting(mine), _greeting(other))
            self.assertIn("Last login: MOMENT from 127.0.0.1", _greeting(mine))

    def test_hushlogin(self) -> None:
        """A person who does not want to read it does not have to."""
        self.ours(False, "touch .hushlogin")
        self.addCleanup(self.ours, False, "rm .hushlogin")
        for pam in (True, False):
            mine, other = (self.on_terminal(pam, ours, "exit\n") for ours in (True, False))
            self.assertEqual((_greeting(mine), _greeting(other)), ("", ""))

    def test_records(self) -> None:
        """``last`` and ``lastlog`` know of a login on a terminal, and not of a command."""
        if not Path("/var/log/wtmp").exists() or not Path("/var/log/lastlog").exists():
            raise unittest.SkipTest("this host keeps no records of logins")
        for pam in (True, False):
            before = run("last", "-w", self.login).text.count(self.login)
            self.ours(pam, "true")
            self.assertEqual(run("last", "-w", self.login).text.count(self.login), before)
            self.on_terminal(pam, True, "exit\n")
            line = run("last", "-w", self.login).text.splitlines()[0]
            self.assertRegex(line, rf"{self.login} +pts/\d+ +127\.0\.0\.1 ")
            self.assertNotIn("still logged in", line)
            self.assertIn("127.0.0.1", run("lastlog", "-u", self.login).text)

    def test_environment_file(self) -> None:
        """``~/.ssh/environment`` is not read."""
        self.ours(False, "mkdir -p .ssh; echo EVIL=1 > .ssh/environment")
        self.addCleanup(self.ours, False, "rm -r .ssh")
        for pam in (True, False):
            mine, other = self.both(pam, "echo $EVIL")
            self.assertEqual((mine.text, other.text), ("\n", "\n"))

    def test_allowed_variables(self) -> None:
        """Clients may set the variables of the list, and no others."""
        words = (
            "-o",
            "SetEnv=LC_TEST=x COLORTERM=y EVIL=z LD_PRELOAD=/evil.so",
            "echo $LC_TEST $COLORTERM $EVIL $LD_PRELOAD",
        )
        for pam in (True, False):
            mine, other = self.both(pam, *words)
            self.assertEqual((mine.text, other.text), ("x y\n", "x y\n"))


class RcTests(SessionCase):
    """What runs before a session: ``~/.ssh/rc`` and ``/etc/ssh/sshrc``."""

    alone = frozenset({"test_of_the_host"})

    def setUp(self) -> None:
        super().setUp()
        self.ours(False, "mkdir -p .ssh; echo 'echo own rc; cat; echo ran >> ran' > .ssh/rc")
        self.addCleanup(self.ours, False, "rm -rf .ssh ran")

    def certified(self, *options: str) -> Person:
        """Somebody with a certificate that ``ssh-keygen`` made, which permits everything unless told otherwise."""
        cluster = quiet_cluster()
        roles = ("-O", 'extension:teleport-roles={"version":"v1","roles":["access"]}')
        return signed(cluster, authority_key(cluster), "dave", *roles, *options, logins=self.login)

    def said(self, dave: Person, pam: bool, *words: str, stdin: bytes = b"") -> list[str]:
        """What the same session says here (past the proxy, which takes no certificate for one command) and there."""
        node = quiet_cluster().nodes["web1" if pam else node_without_pam()]
        where = ("-o", "HostName=127.0.0.1", "-p", str(node.port), "-o", f"HostKeyAlias={node.name}")
        mine = dave.ssh(*where, f"{self.login}@{node.name}", *words, config=dave.config, stdin=stdin)
        other = sshd(pam).ssh(dave, self.login, *words, stdin=stdin)
        return [mine.text, other.text]

    def test_permitted(self) -> None:
        """It runs before a command and has no input; a subsystem does without."""
        dave = self.certified()
        for pam in (True, False):
            said = self.said(dave, pam, "rm -f ran; cat", stdin=b"input\n")
            self.assertEqual(said, ["own rc\ninput\n"] * 2)
            sftp = dave.ssh("-s", f"{self.login}@{'web1' if pam else node_without_pam()}", "sftp")
            self.assertEqual((sftp.out, sftp.code), (b"", 0), sftp)
            self.assertEqual(self.ours(pam, "test -e ran; echo $?").text, "1\n")

    def test_without_permission(self) -> None:
        """Without ``permit-user-rc`` it does not run, nor does it with certificates of the cluster, which have none."""
        for somebody in (self.certified("-O", "no-user-rc"), person()):
            for pam in (True, False):
                self.assertEqual(self.said(somebody, pam, "echo done"), ["done\n"] * 2)

    def test_forced_command(self) -> None:
        """A certificate for one command runs that alone. (sshd does so with its own ForceCommand, and not here.)"""
        dave = self.certified("-O", "force-command=echo forced")
        for pam in (True, False):
            self.assertEqual(self.said(dave, pam, "echo asked for"), ["forced\n", "own rc\nforced\n"])

    def test_of_the_host(self) -> None:
        """``/etc/ssh/sshrc`` runs for whom no file of their own runs."""
        everybody, nobody = self.certified(), self.certified("-O", "no-user-rc")
        with written(Path("/etc/ssh/sshrc"), "echo rc of the host\n"):
            for pam in (True, False):
                self.assertEqual(self.said(everybody, pam, "echo done"), ["own rc\ndone\n"] * 2)
                self.assertEqual(self.said(nobody, pam, "echo done"), ["rc of the host\ndone\n"] * 2)


class RefusedTests(SessionCase):
    """Accounts that may not be used."""

    alone = frozenset({"test_nologin"})

    def test_locked(self) -> None:
        """Without PAM a locked password locks the account; to PAM, a certificate is no password."""
        self.usermod("--lock")
        for done in self.both(True, "echo in"):
            self.assertEqual((done.code, done.text), (0, "in\n"))
        for done in self.both(False, "echo in"):
            self.assertEqual((done.code, done.text), (255, ""))
        self.assertIn(f"The account {self.login} is locked on this host.", self.ours(False, "true").complaint)

    def test_expired(self) -> None:
        self.usermod("--expiredate", "1")
        self.addCleanup(self.usermod, "--expiredate", "")
        for pam in (True, False):
            for done in self.both(pam, "echo in"):
                self.assertEqual((done.code, done.text), (255, ""), done)
        self.assertIn(f"The account {self.login} has expired on this host.", self.ours(False, "true").complaint)
        self.assertIn("Your account has expired", self.ours(True, "true").complaint)

    def test_nologin(self) -> None:
        """People read why; root is let in."""
        with written(Path("/etc/nologin"), "Closed for the tests.\n"):
            for pam in (True, False):
                mine, other = self.both(pam, "echo in")
                self.assertEqual((mine.text, other.text), ("", ""))
                self.assertNotIn(0, (mine.code, other.code))
                self.assertIn("Closed for the tests.", mine.complaint)
                self.assertIn("Closed for the tests.", other.complaint)
            check(person().ssh(f"root@{node_without_pam()}", "true"))

    def test_shell_that_is_missing(self) -> None:
        self.usermod("--shell", "/no/shell")
        self.addCleanup(self.usermod, "--shell", "/bin/bash")
        for pam in (True, False):
            for done in self.both(pam, "echo in"):
                self.assertEqual((done.code, done.text), (255, ""))
        sentence = f"The shell /no/shell of the account {self.login} does not exist."
        self.assertIn(sentence, self.ours(False, "true").complaint)


@contextmanager
def written(path: Path, text: str) -> Iterator[None]:
    """A file of the host that was not there before, and is not afterwards."""
    if path.exists():
        raise unittest.SkipTest(f"{path} exists")
    path.write_text(text)
    try:
        yield
    finally:
        path.unlink()


def _parts(text: str) -> dict[str, str]:
    parts = re.split(r"^== (.*)\n", text, flags=re.MULTILINE)
    return {name: value.strip() for name, value in zip(parts[1::2], parts[2::2], strict=True)}


def _shown(name: str, ours: str, theirs: str, difference: Difference | None) -> str:
    if ours == theirs:
        return f"  {name}: the same: {ours.splitlines()[0] if ours else ''}\n"
    why = difference.why if difference else "NOT EXPLAINED"
    return f"  {name}:\n    ours:   {ours!r}\n    theirs: {theirs!r}\n    why:    {why}\n"


def _greeting(seen: str) -> str:
    """The lines before the prompt, with the moments in them made equal."""
    lines = seen.replace("\r\n", "\n").partition("$ ")[0].splitlines()[:-1]
    return re.sub(r"login: .* from", "login: MOMENT from", "\n".join(lines))
