"""Pseudo-terminals: encoded modes, size and owner."""

from __future__ import annotations

import grp
import os
import pwd
import stat
import termios

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.errors import BadParameter, SpawnFailed
from teleport_conch.ssh.account import Account, lookup
from teleport_conch.ssh.processes.terminal import MAX_CELLS, Terminal, decode_modes
from teleport_conch.ssh.terminal_setup import apply_modes


def mode(opcode: int, argument: int) -> bytes:
    """One encoded mode (RFC 4254, section 8)."""
    return bytes([opcode]) + argument.to_bytes(4, "big")


def own_account() -> Account:
    """The account that runs the tests."""
    return lookup(pwd.getpwuid(os.geteuid()).pw_name)


class DecodeTests(SynchronousTestCase):
    """Opcodes and arguments, from a string that a peer made."""

    def test_table(self) -> None:
        """What ends the list, and what is taken before."""
        cases: list[tuple[bytes, dict[int, int]]] = [
            (b"", {}),
            (b"\0", {}),
            (mode(53, 0) + mode(1, 3) + b"\0", {53: 0, 1: 3}),
            (mode(53, 0) + mode(1, 3), {53: 0, 1: 3}),
            (mode(53, 0) + mode(53, 1) + b"\0", {53: 1}),
            (mode(53, 1) + b"\0" + mode(1, 3), {53: 1}),
            (mode(53, 1) + mode(160, 9) + mode(1, 3), {53: 1}),
            (mode(53, 1) + b"\xff", {53: 1}),
            (mode(159, 7), {159: 7}),
        ]
        for encoded, modes in cases:
            self.assertEqual(decode_modes(encoded), modes, encoded)

    def test_cut_argument(self) -> None:
        """A truncated argument is refused, not taken short."""
        for cut in range(1, 5):
            refusal = self.assertRaises(BadParameter, decode_modes, mode(53, 1)[:cut])
            self.assertEqual(refusal.sentence, "The terminal modes end in the middle of an argument.")

    def test_too_long(self) -> None:
        """The string has a bound."""
        refusal = self.assertRaises(BadParameter, decode_modes, mode(53, 1) * 300)
        self.assertEqual(refusal.sentence, "The terminal modes take 1500 bytes; 1024 is the limit.")

    @given(st.binary(max_size=1024))
    def test_any_bytes(self, encoded: bytes) -> None:
        """Either modes of known length, or a refusal."""
        try:
            modes = decode_modes(encoded)
        except BadParameter:
            return
        self.assertTrue(all(0 < opcode < 160 for opcode in modes))
        self.assertLessEqual(len(modes) * 5, len(encoded))

    @given(st.dictionaries(st.integers(1, 159), st.integers(0, 2**32 - 1)))
    def test_round_trip(self, modes: dict[int, int]) -> None:
        """What is encoded comes back."""
        encoded = b"".join(mode(opcode, argument) for opcode, argument in modes.items())
        self.assertEqual(decode_modes(encoded + b"\0"), modes)


class TerminalCase(SynchronousTestCase):
    """Opens terminals, and closes them."""

    def open(self, rows: int = 24, cols: int = 80, modes: bytes = b"", account: Account | None = None) -> Terminal:
        terminal = Terminal.open(account or own_account(), rows, cols, modes=modes)
        self.addCleanup(terminal.close)
        return terminal


class ModeTests(TerminalCase):
    """Modes become termios."""

    def test_flags_off_and_on(self) -> None:
        """A flag is switched by its argument."""
        for opcode, place, bit in (
            (53, 3, termios.ECHO),
            (51, 3, termios.ICANON),
            (38, 0, termios.IXON),
            (72, 1, termios.ONLCR),
            (42, 0, 0o40000),
        ):
            on = termios.tcgetattr(self.open(modes=mode(opcode, 1)).slave)
            off = termios.tcgetattr(self.open(modes=mode(opcode, 0)).slave)
            self.assertEqual((on[place] & bit, off[place] & bit), (bit, 0), opcode)

    def test_characters(self) -> None:
        """A control character is set; 255 switches it off; what no byte can hold is ignored."""
        terminal = self.open(modes=mode(1, 7) + mode(10, 255) + mode(3, 256))
        characters = termios.tcgetattr(terminal.slave)[6]
        self.assertEqual(characters[termios.VINTR], b"\x07")
        self.assertEqual(characters[termios.VSUSP], b"\0")
        self.assertEqual(characters[termios.VERASE], b"\x7f")

    def test_speed(self) -> None:
        """A speed is kept for programs that ask; one that does not exist is ignored."""
        for asked, kept in ((9600, termios.B9600), (12345, termios.B38400)):
            attributes = termios.tcgetattr(self.open(modes=mode(128, asked) + mode(129, asked)).slave)
            self.assertEqual((attributes[4], attributes[5]), (kept, kept))

    def test_each_opcode(self) -> None:
        """No opcode with any argument makes the terminal fail."""
        for opcode in range(1, 160):
            for argument in (0, 1, 255, 256, 2**32 - 1):
                self.open(modes=mode(opcode, argument)).close()

    def test_character_size_and_parity(self) -> None:
        """Every client sends them; a Linux pseudo-terminal cannot have them and must not fail for it."""
        terminal = self.open(modes=mode(90, 1) + mode(91, 1) + mode(92, 1) + mode(93, 1))
        self.assertEqual(termios.tcgetattr(terminal.slave)[2] & termios.CSIZE, termios.CS8)

    @given(st.dictionaries(st.integers(1, 159), st.integers(0, 2**32 - 1)))
    def test_any_modes(self, modes: dict[int, int]) -> None:
        """No mode of a peer raises; unknown ones are ignored."""
        master, slave = os.openpty()
        try:
            apply_modes(slave, modes)
        finally:
            os.close(master)
            os.close(slave)


class SizeTests(TerminalCase):
    """Rows, columns and pixels."""

    def test_given(self) -> None:
        """The size asked for is the size of the slave side."""
        terminal = Terminal.open(own_account(), 50, 132, 1056, 800)
        self.addCleanup(terminal.close)
        self.assertEqual(terminal.size(), (50, 132, 1056, 800))
        self.assertEqual(os.get_terminal_size(terminal.slave), (132, 50))

    def test_zero_is_the_default(self) -> None:
        """A client that says zero gets 25 rows of 80 columns."""
        self.assertEqual(self.open(rows=0, cols=0).size(), (25, 80, 0, 0))

    def test_resize(self) -> None:
        """A zero leaves the dimension, an absurd one is cut, a negative one cannot come off the wire and is a zero."""
        terminal = self.open()
        terminal.resize(40, 100, 0, 0)
        self.assertEqual(terminal.size(), (40, 100, 0, 0))
        terminal.resize(0, 120, 7, 8)
        self.assertEqual(terminal.size(), (40, 120, 7, 8))
        terminal.resize(2**32 - 1, -1, 2**32 - 1, -1)
        self.assertEqual(terminal.size(), (MAX_CELLS, 120, 65535, 0))

    def test_resize_when_closed(self) -> None:
        """A window change after the end is nothing."""
        terminal = self.open()
        terminal.close()
        terminal.close()
        terminal.resize(10, 10, 0, 0)


class OwnerTests(TerminalCase):
    """Who may write to the terminal."""

    def test_owner(self) -> None:
        """The account owns it, group tty may write to it, nobody else may do anything."""
        if os.geteuid() != 0:
            self.skipTest("Only root gives terminals to others.")
        account = lookup("daemon")
        status = os.stat(self.open(account=account).name)
        self.assertEqual((status.st_uid, status.st_gid), (account.uid, grp.getgrnam("tty").gr_gid))
        self.assertEqual(stat.S_IMODE(status.st_mode), 0o620)

    def test_malformed_modes_open_nothing(self) -> None:
        """Modes are read before a terminal is taken."""
        before = os.listdir("/proc/self/fd")
        self.assertRaises(BadParameter, self.open, modes=b"\x35")
        self.assertEqual(len(os.listdir("/proc/self/fd")), len(before))

    def test_no_descriptors_left(self) -> None:
        """A host at its limit says so."""
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        account = own_account()
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        try:
            refusal = self.assertRaises(SpawnFailed, Terminal.open, account, 24, 80)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        self.assertEqual(refusal.sentence, "This host could not open a terminal: Too many open files.")
