"""How a session's process ended, and the signals that SSH has names for (RFC 4254, sections 6.9 and 6.10)."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from types import MappingProxyType

from attrs import frozen

SIGNALS: Mapping[str, signal.Signals] = MappingProxyType({
    name: signal.Signals[f"SIG{name}"]
    for name in ("ABRT", "ALRM", "FPE", "HUP", "ILL", "INT", "KILL", "PIPE", "QUIT", "SEGV", "TERM", "USR1", "USR2")
})  # fmt: skip
"""The signals that SSH has names for (RFC 4254, section 6.10)."""

UNKNOWN_CODE = 255
"""The exit code of a process that something else reaped. OpenSSH's client says 255 for want of a code, too."""

_NAMES: Mapping[int, str] = MappingProxyType({number: name for name, number in SIGNALS.items()})


@frozen
class ExitStatus:
    """How a process ended: exactly one of ``code`` and ``signal`` is set.

    ``signal`` is a name of RFC 4254 section 6.10; a signal that has none there is ``SIG@openssh.com``, which is what
    OpenSSH sends for it.
    """

    code: int | None
    signal: str | None = None
    core_dumped: bool = False

    @classmethod
    def from_wait(cls, status: int) -> ExitStatus:
        """From what ``waitpid(2)`` answers."""
        if not os.WIFSIGNALED(status):
            return cls(code=os.WEXITSTATUS(status))
        name = _NAMES.get(os.WTERMSIG(status), "SIG@openssh.com")
        return cls(code=None, signal=name, core_dumped=os.WCOREDUMP(status))
