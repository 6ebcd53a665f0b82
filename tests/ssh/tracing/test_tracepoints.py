"""What the kernel says about its tracepoints."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.ssh.tracing import tracepoints
from teleport_conch.ssh.tracing.kernel import Untraceable
from teleport_conch.ssh.tracing.tracepoints import Field, parse_format, read_tracepoints
from tests.ssh.tracing.following import make_tracer

FORK = """\
name: sched_process_fork
ID: 366
format:
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;

\tfield:__data_loc char[] parent_comm;\toffset:8;\tsize:4;\tsigned:0;
\tfield:pid_t child_pid;\toffset:20;\tsize:4;\tsigned:1;
\tfield:__u8 saddr[4];\toffset:32;\tsize:4;\tsigned:0;
\tfield:const char *const * argv;\toffset:24;\tsize:8;\tsigned:0;

print fmt: "comm=%s pid=%d", __get_str(parent_comm), REC->parent_pid
"""


class FormatTests(SynchronousTestCase):
    def test_fields(self) -> None:
        """Number, and place and size of each field, whatever its type."""
        point = parse_format("sched/sched_process_fork", FORK)
        self.assertEqual(point.number, 366)
        self.assertEqual(point.field("child_pid"), Field(20, 4))
        self.assertEqual(point.field("parent_comm"), Field(8, 4))
        self.assertEqual(point.field("saddr"), Field(32, 4))
        self.assertEqual(point.field("argv"), Field(24, 8))

    def test_missing(self) -> None:
        point = parse_format("sched/sched_process_fork", FORK)
        refusal = self.assertRaises(Untraceable, point.field, "cpu")
        self.assertEqual(str(refusal), "This kernel's tracepoint sched/sched_process_fork lacks the field cpu.")

    @settings(max_examples=100, deadline=None)
    @given(st.text(alphabet="ID: 0123456789field;offsetsize[]\t\n", max_size=200))
    def test_unknown(self, text: str) -> None:
        """Another text is refused with a sentence, or has no fields that are not in it."""
        try:
            point = parse_format("a/b", text)
        except Untraceable as refusal:
            self.assertEqual(str(refusal), "This kernel describes its tracepoint a/b in an unknown way.")
        else:
            self.assertTrue(all(name in text for name in point.fields))


class PlaceTests(SynchronousTestCase):
    def test_mounted(self) -> None:
        """Where tracefs is, it is read; what is not there is left out."""
        place = Path(self.mktemp())
        (place / "events" / "sched" / "sched_process_fork").mkdir(parents=True)
        (place / "events" / "sched" / "sched_process_fork" / "format").write_text(FORK)
        self.patch(tracepoints, "PLACES", (place,))
        found = read_tracepoints(["sched/sched_process_fork", "syscalls/sys_enter_creat"])
        self.assertEqual({name: point.number for name, point in found.items()}, {"sched/sched_process_fork": 366})

    def test_not_mounted(self) -> None:
        """Where it is not, it is found all the same, and nothing is mounted afterwards."""
        make_tracer().close()  # skips where this cannot be
        before = Path("/proc/self/mountinfo").read_text()
        self.patch(tracepoints, "PLACES", (Path("/sys/kernel/tracing"),))
        self.patch(tracepoints, "_is_mounted", lambda place: False)
        found = read_tracepoints(["sched/sched_process_exec", "sched/no_such"])
        self.assertEqual(list(found), ["sched/sched_process_exec"])
        self.assertIn("filename", found["sched/sched_process_exec"].fields)
        self.assertEqual(Path("/proc/self/mountinfo").read_text(), before)

    def test_refused(self) -> None:
        """The sentence has what the kernel said, and where."""
        self.patch(tracepoints, "PLACES", (Path("/nonexistent"),))
        refusal = self.assertRaises(Untraceable, read_tracepoints, ["sched/sched_process_exec"])
        self.assertRegex(str(refusal), r"^The tracepoints of this kernel cannot be read: .+ \(.+\)\.$")
