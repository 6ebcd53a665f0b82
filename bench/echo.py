"""What a keystroke takes to be echoed while others move as much as they can."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.bulk import small_files
from bench.figures import Comparison, at_most
from bench.programs import STOP_S
from bench.ssh_load import load_on
from bench.stage import DIRECT, JUMP, NODE, PROXY, TARGET, Stage, stage

SESSIONS = 50
SECONDS = 15
STREAMS = 4
COPIES = 30
"""More than can be made in that time."""


def compare(folder: Path, rounds: int, through: bool = False) -> Comparison:
    """Seconds that 99 of 100 keystrokes take at most, of 50 people who each press one key a second."""
    with stage(folder) as on:
        on.start_openssh(JUMP, TARGET)
        on.start_cluster(proxy=through)
        files = small_files(folder / "many")
        our_way, their_way = (["-J", PROXY], ["-J", JUMP]) if through else ([], [])
        on.warm(on.ssh(*our_way, NODE if through else DIRECT, "true"))

        def ours() -> float:
            way = [*our_way, NODE if through else DIRECT]
            with _busy(on, way, files), load_on(on, NODE, PROXY if through else "") as load:
                return load.echo(SESSIONS, SECONDS)

        def theirs() -> float:
            with _busy(on, [*their_way, TARGET], files), load_on(on, TARGET, JUMP if through else "") as load:
                return load.echo(SESSIONS, SECONDS)

        pairs = [(ours(), theirs()) for _ in range(rounds)]
    ours_s, theirs_s = zip(*pairs, strict=True)
    name = f"keystroke beside streams, 99 %{', with -J' if through else ''} ({'two ' if through else ''}sshd)"
    return Comparison(name, "s", at_most(1.0), ours_s, theirs_s)


@contextmanager
def _busy(on: Stage, way: list[str], files: Path) -> Iterator[None]:
    """Four streams at full speed, and the copy of 10,000 files again and again."""
    copy = on.folder / "copy"
    sftp = ["sftp", "-q", "-b", "-", "-F", str(on.configuration), *way]
    with ExitStack() as stack:
        for _ in range(STREAMS):
            stack.enter_context(_until_the_end(list(map(str, on.ssh(*way, "cat /dev/zero")))))
        program = stack.enter_context(_until_the_end(sftp))
        assert program.stdin is not None
        program.stdin.write(f"get -R {files} {copy}\n".encode() * COPIES)
        program.stdin.flush()
        yield


@contextmanager
def _until_the_end(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    program = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, bufsize=0
    )
    try:
        yield program
    finally:
        program.kill()
        program.communicate(timeout=STOP_S)
