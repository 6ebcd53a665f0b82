"""What a second worker of a proxy gains, against one.

The load is on the same machine and needs processors itself, so that on two of them the rates say little. What a proxy
can do at most is told by the processor time of the busiest of its processes, as none has more than one processor.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from bench.bulk import AES, LESS_BYTES, master
from bench.figures import Comparison, at_least, at_most
from bench.programs import Command, family, processor_seconds, timed
from bench.ssh_load import SSHLoad, load_on
from bench.stage import PROXY, TARGET, WORKERS, stage

STREAMS = 4
LOADS = 2
"""Processes that log in, each so many times at once."""
AT_ONCE = 8
LOGINS = 200


def compare_streams(folder: Path, rounds: int) -> Comparison:
    """Bytes in a second of some downloads at once, from an ``sshd`` behind the proxy."""
    with stage(folder) as on, ExitStack() as opened:
        on.start_openssh(TARGET)
        on.start_proxies()
        options = ("-o", f"Ciphers={AES}")

        def masters(proxy: str) -> list[Command]:
            on.warm(on.ssh("-J", proxy, TARGET, "true"))
            ways = [master(on, TARGET, *options, "-J", proxy, tag=f"{proxy}{number}") for number in range(STREAMS)]
            return [opened.enter_context(way) for way in ways]

        two, one = masters(WORKERS), masters(PROXY)
        pairs = [(_rate(two), _rate(one)) for _ in range(rounds + 1)]
    two_rate, one_rate = zip(*pairs[1:], strict=True)
    return Comparison("4 downloads through a proxy of 2 workers (1)", "B/s", at_least(1.0), two_rate, one_rate)


def _rate(masters: Sequence[Command]) -> float:
    size = LESS_BYTES // STREAMS
    with ThreadPoolExecutor(STREAMS) as threads:
        return LESS_BYTES / max(threads.map(lambda each: timed([*each, f"head -c {size} /dev/zero"]), masters))


def compare_logins(folder: Path, rounds: int) -> Comparison:
    """Logins at the proxy in a second, from two processes, eight at a time each."""
    with stage(folder) as on, ExitStack() as opened:
        on.start_proxies()
        two, one = ([opened.enter_context(load_on(on, name)) for _ in range(LOADS)] for name in (WORKERS, PROXY))
        pairs = [(_logins(two), _logins(one)) for _ in range(rounds + 1)]
    two_rate, one_rate = zip(*pairs[1:], strict=True)
    return Comparison("logins at a proxy of 2 workers (1)", "1/s", at_least(1.0), two_rate, one_rate)


def compare_busiest(folder: Path, rounds: int) -> Comparison:
    """Processor seconds of the busiest process of the proxy, for one login."""
    with stage(folder) as on, ExitStack() as opened:
        on.start_proxies()
        names = (WORKERS, PROXY)
        loads = [opened.enter_context(load_on(on, name)) for name in names]
        pids = [family(on.servers[name].pid) for name in names]
        pairs = [[_busiest(load, each) for load, each in zip(loads, pids, strict=True)] for _ in range(rounds + 1)]
    two_s, one_s = zip(*pairs[1:], strict=True)
    what = "busiest process of a proxy of 2 workers, a login (1)"
    return Comparison(what, "s", at_most(0.7), two_s, one_s)


def _busiest(load: SSHLoad, pids: Sequence[int]) -> float:
    before = [processor_seconds(pid) for pid in pids]
    load.handshakes(LOGINS, AT_ONCE)
    return max(processor_seconds(pid) - used for pid, used in zip(pids, before, strict=True)) / LOGINS


def _logins(loads: Sequence[SSHLoad]) -> float:
    with ThreadPoolExecutor(LOADS) as threads:
        took_s: float = max(threads.map(lambda load: load.handshakes(LOGINS, AT_ONCE), loads))
    return LOADS * LOGINS / took_s
