"""OpenSSH's ``ssh`` with a certificate over each type of key that needs no device, from a file and an agent."""

from __future__ import annotations

from functools import cache

from tests.interop.case import InteropTests
from tests.interop.certificates import signed_by_cluster
from tests.interop.person import Person
from tests.interop.programs import check, environment, run
from tests.interop.requirements import require
from tests.interop.shared import quiet_cluster
from tests.interop.test_forwarding import start_agent

#: By the signature that a login makes; RSA has one for each hash.
KINDS = {
    "ssh-ed25519": ("-t", "ed25519"),
    "ecdsa-sha2-nistp256": ("-t", "ecdsa", "-b", "256"),
    "ecdsa-sha2-nistp384": ("-t", "ecdsa", "-b", "384"),
    "ecdsa-sha2-nistp521": ("-t", "ecdsa", "-b", "521"),
    "rsa-sha2-512": ("-t", "rsa", "-b", "2048"),
    "rsa-sha2-256": ("-t", "rsa", "-b", "2048"),
}


@cache
def holder(kind: tuple[str, ...]) -> Person:
    """Somebody with a key of this kind."""
    name = "".join(kind).replace("-", "")
    return signed_by_cluster(quiet_cluster(), name, kind=kind)


class KeyTests(InteropTests):
    def test_every_type(self) -> None:
        """To the proxy and to the node behind it."""
        for signature, kind in KINDS.items():
            only = ("-o", f"PubkeyAcceptedAlgorithms={signature}-cert-v01@openssh.com,{signature}")
            done = holder(kind).ssh(*only, "web1", "echo in")
            self.assertEqual((done.text, done.code), ("in\n", 0), done)

    def test_agent(self) -> None:
        """An agent that holds all of them signs with the one that is asked for."""
        agent = start_agent(self)
        add = require("ssh-add", "openssh-client")
        for signature, kind in KINDS.items():
            person = holder(kind)
            check(run(add, "-q", str(person.key), env=environment(SSH_AUTH_SOCK=agent)))
            options = ("-o", f"IdentityAgent={agent}", "-o", f"IdentityFile={person.key}.pub")
            only = ("-o", f"PubkeyAcceptedAlgorithms={signature}-cert-v01@openssh.com,{signature}")
            self.assertEqual(person.ssh(*options, *only, "web1", "echo in").text, "in\n", signature)

    def test_nothing_old(self) -> None:
        """SHA-1 signs nothing, although the client would."""
        person = holder(KINDS["rsa-sha2-512"])
        done = person.ssh("-o", "PubkeyAcceptedAlgorithms=ssh-rsa-cert-v01@openssh.com,ssh-rsa", "web1", "echo in")
        self.assertEqual((done.text, done.code), ("", 255), done)
        self.assertIn("Permission denied (publickey).", done.complaint)
