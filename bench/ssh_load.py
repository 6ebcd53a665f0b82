"""One SSH load for every server: a process of its own, with AsyncSSH as the client and the same algorithms for all.

The parent talks to it through :class:`SSHLoad`; the child (``python -m bench.ssh_load``) reads a job, then one command
a line, and answers each with one line.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from statistics import median, quantiles

import asyncssh
from attrs import define, field

from bench.programs import LOOPBACK, STOP_S, Broken
from bench.stage import NODE, Stage

CIPHER = "aes128-gcm@openssh.com"
KEX = "curve25519-sha256"


@define(eq=False)
class SSHLoad:
    """The generator for one server, as long as the block lasts."""

    _child: subprocess.Popen[bytes]

    def handshakes(self, count: int, at_once: int) -> float:
        """Seconds for so many connections that log in and hang up."""
        return self._ask("handshakes", count, at_once)

    def execs(self, count: int, at_once: int) -> float:
        """Seconds for so many connections that log in and run ``true``."""
        return self._ask("execs", count, at_once)

    def hold(self, count: int, at_once: int) -> float:
        """Seconds to open so many connections more, which stay."""
        return self._ask("hold", count, at_once)

    def shells(self, count: int, at_once: int) -> float:
        """Seconds to open so many shells on terminals more, all in the connections that are held."""
        return self._ask("shells", count, at_once)

    def echo(self, sessions: int, seconds: int) -> float:
        """The time that 99 of 100 keystrokes take to be echoed at most, in seconds."""
        return self._ask("echo", sessions, seconds)

    def refusals(self, login: str, count: int) -> float:
        """The median time of so many logins that are refused, as this account, one after the other, in seconds."""
        return self._ask("refusals", login, count)

    def _ask(self, name: str, *arguments: int | str) -> float:
        assert self._child.stdin is not None and self._child.stdout is not None
        try:
            self._child.stdin.write(json.dumps([name, *arguments]).encode() + b"\n")
            self._child.stdin.flush()
            line = self._child.stdout.readline()
        except BrokenPipeError:
            line = b""
        if not line:
            raise Broken("The SSH load ended early; it said why above.")
        return float(line)


@contextmanager
def load_on(stage: Stage, name: str, through: str = "") -> Iterator[SSHLoad]:
    """The load for one server of a stage, through a proxy or jump host where one is named."""
    person = stage.person
    job = {
        "host": name if through and name == NODE else LOOPBACK,  # a name is what our proxy knows, and sshd does not
        "alias": name,
        "port": stage.servers[name].port,
        "login": person.login,
        "key": str(person.key),
        "certificate": str(person.certificate),
        "known_hosts": str(person.known_hosts),
        "through": through,
        "through_port": stage.servers[through].port if through else 0,
    }
    child = subprocess.Popen([sys.executable, "-m", "bench.ssh_load"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdin is not None
    child.stdin.write(json.dumps(job).encode() + b"\n")
    child.stdin.flush()
    try:
        yield SSHLoad(child)
    finally:
        try:
            child.communicate(timeout=STOP_S)  # the end of its input is the end of it
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


# The child.


@define(eq=False)
class _Client:
    job: Mapping[str, str]
    held: list[asyncssh.SSHClientConnection] = field(factory=list)
    open: list[object] = field(factory=list)

    async def connect(self) -> asyncssh.SSHClientConnection:
        job = self.job
        if job["through"]:
            jump = await self._dial(LOOPBACK, int(job["through_port"]), job["through"], None)
            return await self._dial(job["host"], int(job["port"]), job["alias"], jump)
        return await self._dial(job["host"], int(job["port"]), job["alias"], None)

    async def _dial(
        self, host: str, port: int, alias: str, tunnel: asyncssh.SSHClientConnection | None, login: str = ""
    ) -> asyncssh.SSHClientConnection:
        return await asyncssh.connect(
            host,
            port,
            tunnel=tunnel,
            config=None,
            username=login or self.job["login"],
            client_keys=[(self.job["key"], self.job["certificate"])],
            agent_path=None,
            known_hosts=self.job["known_hosts"],
            host_key_alias=alias,
            kex_algs=[KEX],
            encryption_algs=[CIPHER],
        )

    async def handshake(self) -> None:
        connection = await self.connect()
        connection.close()
        await connection.wait_closed()

    async def exec(self) -> None:
        connection = await self.connect()
        done = await connection.run("true")
        if done.exit_status != 0:
            raise Broken(f"true ended with {done.exit_status}: {done.stderr!r}")
        connection.close()
        await connection.wait_closed()

    async def hold(self) -> None:
        self.held.append(await self.connect())

    async def shell(self) -> None:
        self.held.append(connection := self.held.pop(0))  # one after the other
        process = await connection.create_process(term_type="xterm", encoding=None)
        self.open.append(process)
        await process.stdout.read(1)  # the prompt

    async def refusals(self, login: str, count: int) -> float:
        times = []
        for _ in range(count):
            started = time.perf_counter()
            try:
                await self._dial(self.job["host"], int(self.job["port"]), self.job["alias"], None, login)
            except asyncssh.PermissionDenied:
                times.append(time.perf_counter() - started)
        return median(times)

    async def echo(self, sessions: int, seconds: int) -> float:
        """Whoever types waits until all have logged in: what logins cost others has rows of its own."""
        times: list[float] = []
        everybody = asyncio.Barrier(sessions)
        typists = [self._type(everybody, number / sessions, seconds, times) for number in range(sessions)]
        await asyncio.gather(*typists)
        return quantiles(times, n=100)[98]

    async def _type(self, everybody: asyncio.Barrier, delay: float, seconds: int, times: list[float]) -> None:
        connection = await self.connect()
        process = await connection.create_process("cat", term_type="xterm", encoding=None)
        await everybody.wait()
        await asyncio.sleep(1 + delay)
        for _ in range(seconds):
            started = time.perf_counter()
            process.stdin.write(b"x")
            await process.stdout.read(1)
            took = time.perf_counter() - started
            times.append(took)
            await asyncio.sleep(max(0.0, 1 - took))
        await everybody.wait()
        connection.close()
        await connection.wait_closed()


async def _many(one: Callable[[], Awaitable[None]], count: int, at_once: int) -> float:
    """Seconds for ``count``, of which so many are under way at any time."""
    left = iter(range(count))

    async def worker() -> None:
        for _ in left:
            await one()

    started = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(at_once)))
    return time.perf_counter() - started


async def main() -> None:
    loop = asyncio.get_running_loop()
    client = _Client(json.loads(await loop.run_in_executor(None, sys.stdin.readline)))
    ways = {
        "handshakes": client.handshake,
        "execs": client.exec,
        "hold": client.hold,
        "shells": client.shell,
    }
    alone: Mapping[str, Callable[..., Awaitable[float]]] = {"echo": client.echo, "refusals": client.refusals}
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        name, first, second = json.loads(line)
        if name in alone:
            took = await alone[name](first, second)
        else:
            took = await _many(ways[name], first, second)
        print(took, flush=True)


if __name__ == "__main__":
    asyncssh.set_log_level("CRITICAL")
    asyncio.run(main())
