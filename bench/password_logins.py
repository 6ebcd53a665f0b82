"""What a keystroke takes to be echoed through a proxy while 20 people log in there with their passwords, all at once.

The logins come from a process of their own (``python -m bench.password_logins``), which goes on until its input ends:
20 at once, and when those are through, the next 20. Each uses up a recovery code, so that it is a login as people make
it, with one hash of a password, and two certificates.
"""

from __future__ import annotations

import base64
import json
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPSConnection
from itertools import islice
from pathlib import Path

import yaml
from attrs import frozen
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP

from bench.cluster import Auth
from bench.figures import Comparison, More
from bench.programs import LOOPBACK, STOP_S, Broken
from bench.ssh_load import load_on
from bench.stage import NODE, PROXY, Stage, stage
from teleport_conch.certs import keys

AT_ONCE = 20
PEOPLE = 60
BURSTS = 5
"""More than there is time for in one round."""
SESSIONS = 20
SECONDS = 15
MORE_S = 0.005
ANSWER_S = 60.0
PASSWORD = "a tangerine and nine mandarins"


def compare(folder: Path, rounds: int) -> Comparison:
    """Seconds that 99 of 100 keystrokes take at most, of 20 people who each press one key a second."""
    with stage(folder) as on:
        on.start_cluster(proxy=True)
        on.warm(on.ssh("-J", PROXY, NODE, "true"))
        codes = [_invited(on.auth, f"person{number}") for number in range(PEOPLE)]
        turns = iter([(f"person{number}", code) for at in range(10) for number, code in _column(codes, at)])
        pairs = [(_busy(on, turns), _idle(on)) for _ in range(rounds)]
    ours_s, idle_s = zip(*pairs, strict=True)
    return Comparison("keystroke beside 20 logins, 99 % (idle)", "s", More(MORE_S), ours_s, idle_s)


def _column(codes: Sequence[Sequence[str]], at: int) -> Iterator[tuple[int, str]]:
    return ((number, each[at]) for number, each in enumerate(codes))


def _idle(on: Stage) -> float:
    with load_on(on, NODE, PROXY) as load:
        return load.echo(SESSIONS, SECONDS)


def _busy(on: Stage, turns: Iterator[tuple[str, str]]) -> float:
    with load_on(on, NODE, PROXY) as load, _logging_in(_web_port(on), list(islice(turns, BURSTS * AT_ONCE))):
        return load.echo(SESSIONS, SECONDS)


def _web_port(on: Stage) -> int:
    settings = yaml.safe_load((on.auth.folder / "proxy" / "proxy.yaml").read_text())
    return int(settings["proxy_service"]["web_listen_addr"].rpartition(":")[2])


def _invited(auth: Auth, name: str) -> Sequence[str]:
    """The recovery codes of a new user, whose password is set."""
    metadata = {"name": name}
    spec = {"roles": ["access"], "traits": {"logins": ["root"]}}
    auth.call("POST", "/v1/users", {"kind": "user", "version": "v2", "metadata": metadata, "spec": spec})
    token = auth.call("POST", f"/v1/users/{name}/invites", {"kind": "invite"})["token"]
    there = {"token": token, "client_address": LOOPBACK}
    secret = base64.b32decode(str(auth.call("POST", "/v1/web/invites/open", there)["otp_secret"]))
    now = float(str(auth.call("GET", "/v1/ping")["server_time"]))
    code = TOTP(secret, 6, SHA1(), 30).generate(int(now)).decode()
    accepted = auth.call("POST", "/v1/web/invites/accept", {**there, "password": PASSWORD, "otp_token": code})
    codes = accepted["recovery_codes"]
    assert isinstance(codes, list)
    return codes


@contextmanager
def _logging_in(port: int, turns: Sequence[tuple[str, str]]) -> Iterator[None]:
    """People log in for as long as the block lasts.

    :raises Broken: fewer did than are to be there at once.
    """
    child = subprocess.Popen(
        [sys.executable, "-m", "bench.password_logins"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdin is not None
    child.stdin.write(json.dumps({"port": port, "turns": turns}).encode() + b"\n")
    child.stdin.flush()
    try:
        yield
    finally:
        try:
            out, _ = child.communicate(timeout=STOP_S + ANSWER_S)
        except subprocess.TimeoutExpired:
            child.kill()
            out, _ = child.communicate()
    if int(out or b"0") < AT_ONCE:
        raise Broken(f"Only {int(out or b'0')} people could log in.")


# The child.


@frozen
class _Person:
    """Logs in at the web port, with keys that were made before."""

    port: int
    keys: Mapping[str, str]

    def log_in(self, turn: Sequence[str]) -> bool:
        name, code = turn
        connection = HTTPSConnection(LOOPBACK, self.port, timeout=ANSWER_S, context=_unverified())
        typed = {"user": name, "password": PASSWORD, "recovery_code": code, "ttl": 0}
        body = json.dumps({**typed, **self.keys})
        connection.request("POST", "/v1/webapi/ssh/certs", body, {"content-type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        if answer.status != 200:
            sys.stderr.write(f"{answer.status} {text.decode()[:500]}\n")
        return answer.status == 200


def _unverified() -> ssl.SSLContext:
    """The proxy's certificate is its own, and what is sent here is no secret. To read no authorities costs little."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _public_keys() -> Mapping[str, str]:
    key = keys.generate_tls_key().public_key()
    texts = {"pub_key": keys.public_line(keys.public_blob(key)), "tls_pub_key": keys.public_pem(key)}
    return {name: base64.b64encode(text.encode()).decode() for name, text in texts.items()}


def _until_the_end(over: threading.Event) -> None:
    sys.stdin.read()
    over.set()


def main() -> None:
    job, over = json.loads(sys.stdin.readline()), threading.Event()
    person, turns, done = _Person(job["port"], _public_keys()), iter(job["turns"]), 0
    threading.Thread(target=_until_the_end, args=(over,), daemon=True).start()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        while not over.is_set() and (burst := list(islice(turns, AT_ONCE))):
            done += sum(pool.map(person.log_in, burst))
    print(done, flush=True)


if __name__ == "__main__":
    main()
