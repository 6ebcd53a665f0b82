"""What is said where sessions cannot be traced."""

from __future__ import annotations

import os
import platform
import resource

from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.ssh.tracing import kernel, tracer
from teleport_conch.ssh.tracing.kernel import Untraceable
from teleport_conch.ssh.tracing.tracer import Sizes, check


class RefusalTests(SynchronousTestCase):
    """The first thing that is missing, in a sentence."""

    def refusal(self) -> str:
        return str(self.assertRaises(Untraceable, check, Sizes()))

    def test_machine(self) -> None:
        self.patch(platform, "machine", lambda: "riscv64")
        self.assertEqual(self.refusal(), "Sessions can be traced on x86_64 and aarch64, and this is riscv64.")

    def test_not_root(self) -> None:
        self.patch(os, "geteuid", lambda: 1000)
        self.assertEqual(
            self.refusal(), "Sessions can be traced by root only, and this service was started by another account."
        )

    def test_container(self) -> None:
        """Threads are known by the numbers that the kernel has for them, and a container has others."""
        self.patch(os, "geteuid", lambda: 0)
        self.patch(os, "readlink", lambda path: "pid:[4026532000]")
        self.assertEqual(
            self.refusal(), "Sessions cannot be traced from a container that numbers its processes for itself."
        )

    def test_tracepoint(self) -> None:
        """A kernel without one of those that are needed."""
        self.patch(kernel, "check_host", lambda: None)
        self.patch(tracer, "read_tracepoints", lambda names: {})
        self.assertEqual(self.refusal(), "This kernel has no tracepoint sched/sched_process_fork.")

    def test_old(self) -> None:
        """A kernel that has maps, and no rings."""

        def create(kind: int, *choice: object) -> int:
            if kind == kernel.RING:
                raise OSError(22, "Invalid argument")
            return os.open(os.devnull, os.O_RDONLY)

        self.patch(kernel, "check_host", lambda: None)
        self.patch(tracer, "read_tracepoints", dict.fromkeys)
        self.patch(kernel, "create_map", create)
        before = os.listdir("/proc/self/fd")
        self.assertEqual(self.refusal(), "This kernel is too old to record sessions: Linux 5.8 or newer does.")
        self.assertEqual(os.listdir("/proc/self/fd"), before)

    def test_system_call(self) -> None:
        """What the kernel itself says."""

        def refuse(*choice: object) -> int:
            raise PermissionError(1, "Operation not permitted")

        points = dict.fromkeys(tracer.ALWAYS)
        self.patch(kernel, "check_host", lambda: None)
        self.patch(tracer, "read_tracepoints", lambda names: points)
        self.patch(kernel, "create_map", refuse)
        before = resource.getrlimit(resource.RLIMIT_MEMLOCK)
        self.assertEqual(self.refusal(), "This kernel cannot trace sessions: Operation not permitted.")
        self.assertEqual(resource.getrlimit(resource.RLIMIT_MEMLOCK), before)
