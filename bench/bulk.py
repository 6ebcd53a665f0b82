"""How fast bytes and files go through: the OpenSSH client, over a master connection that is there beforehand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.figures import Comparison, at_least
from bench.programs import Broken, Command, running, timed, wait_until
from bench.stage import DIRECT, JUMP, NODE, PROXY, TARGET, Stage, stage

BYTES = 1_000_000_000
LESS_BYTES = 400_000_000
"""Through the proxy, where every byte is encrypted twice."""
FILE_BYTES = 200_000_000
FILES = 10_000
SMALL_BYTES = 1000
CHACHA, AES = "chacha20-poly1305@openssh.com", "aes128-gcm@openssh.com"


def compare_down(folder: Path, rounds: int, cipher: str, bound: float) -> Comparison:
    """Bytes of ``head -c`` in a second."""
    return _compare_stream(folder, rounds, cipher, bound, up=False)


def compare_up(folder: Path, rounds: int, cipher: str, bound: float) -> Comparison:
    """Bytes into ``cat`` in a second."""
    return _compare_stream(folder, rounds, cipher, bound, up=True)


def compare_through(folder: Path, rounds: int) -> Comparison:
    """Bytes in a second through the proxy, against two ``sshd``."""
    with stage(folder) as on:
        on.start_openssh(JUMP, TARGET)
        on.start_cluster(proxy=True)
        on.warm(on.ssh("-J", PROXY, NODE, "true"))
        options = ["-o", f"Ciphers={AES}"]
        with (
            master(on, NODE, *options, "-J", PROXY) as ours,
            master(on, TARGET, *options, "-J", JUMP) as theirs,
        ):
            down = f"head -c {LESS_BYTES} /dev/zero"
            pairs = [
                (LESS_BYTES / timed([*ours, down]), LESS_BYTES / timed([*theirs, down])) for _ in range(rounds + 1)
            ]
    ours_rate, theirs_rate = zip(*pairs[1:], strict=True)
    return Comparison("download with -J, aes128-gcm (two sshd)", "B/s", at_least(1.0), ours_rate, theirs_rate)


def _compare_stream(folder: Path, rounds: int, cipher: str, bound: float, up: bool) -> Comparison:
    with stage(folder) as on:
        on.start_openssh(TARGET)
        on.start_cluster()
        source = folder / "zeros"
        with source.open("wb") as file:
            file.truncate(BYTES)
        with master(on, DIRECT, "-c", cipher) as ours, master(on, TARGET, "-c", cipher) as theirs:

            def rate(master: Command) -> float:
                if up:
                    return BYTES / timed([*master, "cat > /dev/null"], source)
                return BYTES / timed([*master, f"head -c {BYTES} /dev/zero"])

            pairs = [(rate(ours), rate(theirs)) for _ in range(rounds + 1)]
    ours_rate, theirs_rate = zip(*pairs[1:], strict=True)
    name = f"{'upload' if up else 'download'}, {cipher.partition('@')[0]} (sshd)"
    return Comparison(name, "B/s", at_least(bound), ours_rate, theirs_rate)


def compare_files(folder: Path, rounds: int, put: bool, small: bool, own: bool = False) -> Comparison:
    """Bytes of one large file, or many small files, in a second by ``sftp``.

    :param own: ours is served by our own SFTP server, and not by OpenSSH's as the other.
    """
    size = FILES if small else FILE_BYTES
    with stage(folder) as on:
        on.start_openssh(TARGET)
        on.start_cluster(sftp_program="own" if own else "automatic")
        files = small_files(folder / "many") if small else _large_file(folder / "large")
        with _sftp(on, DIRECT) as ours, _sftp(on, TARGET) as theirs:

            def rate(program: Command) -> float:
                batch, copy = folder / "batch", folder / "copy"
                timed(["rm", "-rf", copy])
                way = "put" if put else "get"
                batch.write_text(f"{way} {'-R ' if small else ''}{files} {copy}\n")
                return size / timed(program, batch)

            pairs = [(rate(ours), rate(theirs)) for _ in range(rounds + 1)]
    ours_rate, theirs_rate = zip(*pairs[1:], strict=True)
    name = (
        f"sftp {'put' if put else 'get'}, {'10,000 files' if small else '200 MB'}{', own server' if own else ''} (sshd)"
    )
    return Comparison(name, "1/s" if small else "B/s", at_least(0.9), ours_rate, theirs_rate)


def _large_file(path: Path) -> Path:
    with path.open("wb") as file:
        for _ in range(FILE_BYTES // 1_000_000):
            file.write(bytes(1_000_000))
    return path


def small_files(path: Path) -> Path:
    for number in range(FILES):
        file = path / f"{number // 1000}" / f"{number}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(bytes(SMALL_BYTES))
    return path


@contextmanager
def _sftp(on: Stage, name: str) -> Iterator[Command]:
    """``sftp`` that takes its commands from standard input, over a connection that is there."""
    with master(on, name, "-c", AES) as there:
        socket = there[there.index("-S") + 1]
        yield ["sftp", "-F", on.configuration, "-q", "-b", "-", "-o", f"ControlPath={socket}", name]


@contextmanager
def master(on: Stage, name: str, *options: str | Path, tag: str = "") -> Iterator[list[str | Path]]:
    """A command that runs another over a connection that is there, until the end of the block.

    :param tag: tells several to one server apart.
    """
    socket, log = on.folder / f"{name}{tag}.master", on.folder / f"{name}{tag}.master.log"
    if len(str(socket)) > 90:
        raise Broken(f"{socket} is too long a path for a socket: set TMPDIR to a shorter one")
    with running(on.ssh("-M", "-S", socket, "-N", *options, name), log):
        wait_until(socket.exists, "The master connection", log)
        yield [*on.ssh("-S", socket, *options, name)]
