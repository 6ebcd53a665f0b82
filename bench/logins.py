"""Logins: what one costs the client in time, and the server in processor time.

An account's ``.bashrc``, which bash reads as the first shell of a connection, may take longer than all of SSH; with
``SHLVL=2`` it is not the first.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bench.figures import Comparison, at_least, at_most
from bench.programs import family_seconds, timed
from bench.ssh_load import SSHLoad, load_on
from bench.stage import ASYNCSSH, ENGINE, JUMP, NODE, PROXY, TARGET, stage

AT_ONCE = 8
LOGINS = 160
"""In one turn."""
WARM_UP = 24
REFUSALS = 50
"""In one turn, each of which takes as long as any failure."""
KNOWN, UNKNOWN = "daemon", "nosuchuser"


def compare_cold(folder: Path, rounds: int) -> Comparison:
    """Seconds from the start of ``ssh -J`` to its end: through our proxy to our node, against two ``sshd``."""
    with stage(folder) as on:
        on.start_openssh(JUMP, TARGET)
        on.start_cluster(proxy=True)
        ours, theirs = on.ssh("-J", PROXY, NODE, "true"), on.ssh("-J", JUMP, TARGET, "true")
        on.warm(ours)
        on.warm(theirs)
        pairs = [(timed(ours), timed(theirs)) for _ in range(rounds)]
    ours_s, theirs_s = zip(*pairs, strict=True)
    return Comparison("cold ssh -J, true (the other: two sshd)", "s", at_most(0.45), ours_s, theirs_s)


def compare_exec(folder: Path, rounds: int, pam: bool = False) -> Comparison:
    """Processor seconds of the server, its children included, for one login to another account with ``true``."""
    with stage(folder, other_account=True) as on:
        on.start_openssh(TARGET, UsePAM="yes" if pam else "no")
        on.start_cluster(pam={"enabled": pam})
        with load_on(on, NODE) as ours, load_on(on, TARGET) as theirs:
            one = SSHLoad.execs
            ours_s, theirs_s = _processor_seconds(
                ours, theirs, one, on.servers[NODE].pid, on.servers[TARGET].pid, rounds
            )
    name = "with PAM" if pam else "no PAM"
    return Comparison(f"processor time of a login with true, {name} (sshd)", "s", at_most(0.3), ours_s, theirs_s)


def compare_handshake(folder: Path, rounds: int, node: bool = False) -> Comparison:
    """Processor seconds of the server for one connection that logs in and hangs up, against a server of AsyncSSH.

    :param node: ours is a whole node, and not the engine alone.
    """
    name = NODE if node else ENGINE
    with stage(folder) as on:
        on.start_asyncssh()
        if node:
            on.start_cluster()
        else:
            on.start_engine()
        with load_on(on, name) as ours, load_on(on, ASYNCSSH) as theirs:
            pids = on.servers[name].pid, on.servers[ASYNCSSH].pid
            ours_s, theirs_s = _processor_seconds(ours, theirs, SSHLoad.handshakes, *pids, rounds)
    what = f"processor time of a login alone, {'a node' if node else 'the engine'} (AsyncSSH)"
    return Comparison(what, "s", at_most(0.75), ours_s, theirs_s)


def compare_refusals(folder: Path, rounds: int) -> Comparison:
    """Seconds until a login is refused, as an account that there is, against one that there is not (threat 35)."""
    with stage(folder) as on:
        on.start_cluster()
        with load_on(on, NODE) as load:
            pairs = [(load.refusals(KNOWN, REFUSALS), load.refusals(UNKNOWN, REFUSALS)) for _ in range(rounds)]
    known_s, unknown_s = zip(*pairs, strict=True)
    return Comparison("a refusal, account known (not known)", "s", at_most(1.01), known_s, unknown_s)


def compare_rate(folder: Path, rounds: int) -> Comparison:
    """Logins with ``true`` in a second, eight at a time."""
    with stage(folder, other_account=True) as on:
        on.start_openssh(TARGET)
        on.start_cluster()
        with load_on(on, NODE) as ours, load_on(on, TARGET) as theirs:
            ours.execs(WARM_UP, AT_ONCE)
            theirs.execs(WARM_UP, AT_ONCE)
            pairs = [
                (LOGINS / ours.execs(LOGINS, AT_ONCE), LOGINS / theirs.execs(LOGINS, AT_ONCE)) for _ in range(rounds)
            ]
    ours_s, theirs_s = zip(*pairs, strict=True)
    return Comparison("logins with true, 8 at a time (sshd)", "1/s", at_least(3.5), ours_s, theirs_s)


Run = Callable[[SSHLoad, int, int], float]


def _processor_seconds(
    ours: SSHLoad, theirs: SSHLoad, run: Run, our_pid: int, their_pid: int, rounds: int
) -> tuple[list[float], list[float]]:
    """What one costs each server, in turns."""

    def cost(load: SSHLoad, pid: int) -> float:
        before = family_seconds(pid)
        run(load, LOGINS, AT_ONCE)
        return (family_seconds(pid) - before) / LOGINS

    run(ours, WARM_UP, AT_ONCE)
    run(theirs, WARM_UP, AT_ONCE)
    pairs = [(cost(ours, our_pid), cost(theirs, their_pid)) for _ in range(rounds)]
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]
