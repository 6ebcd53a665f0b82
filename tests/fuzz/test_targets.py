"""Every target takes its seeds, and mutations of them: a few hundred in the ordinary run, a minute's in the long one.

A test that fails shows its seed, with which ``python -m tests.fuzz`` finds the input again.
"""

from __future__ import annotations

import os
from random import Random, SystemRandom

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.fuzz.__main__ import run
from tests.fuzz.mutation import MAX_BYTES, mutated
from tests.fuzz.targets import TARGETS

LONG = os.environ.get("TELEPORT_CONCH_LONG") == "1"
SECONDS = 60.0
INPUTS = 300
SLOW_INPUTS = 40
"""For the targets that need a key exchange for each input."""
SLOW = {"login", "guest", "stranger"}


class TargetTests(SynchronousTestCase):
    def test_seeds(self) -> None:
        """What is right is taken."""
        for target in TARGETS.values():
            for seed in target.seeds():
                target.read(seed)
            target.read(b"")

    def test_mutations(self) -> None:
        """What is nearly right raises nothing that its reader does not name."""
        for name, target in TARGETS.items():
            with self.subTest(name):
                seed = SystemRandom().randrange(1 << 32)
                if LONG:
                    self.assertIsNone(run(target, SECONDS, seed)[1])
                    continue
                source, seeds = Random(seed), target.seeds()
                for _ in range(SLOW_INPUTS if name in SLOW else INPUTS):
                    data = mutated(seeds, source)
                    try:
                        target.read(data)
                    except Exception as problem:
                        raise AssertionError(f"{name}, seed {seed}: {problem!r} for {data!r}") from problem

    @given(st.sampled_from(sorted(set(TARGETS) - SLOW)), st.binary(max_size=2000))
    @settings(max_examples=200)
    def test_any_bytes(self, name: str, data: bytes) -> None:
        """Nor does anything else."""
        TARGETS[name].read(data)


class MutationTests(SynchronousTestCase):
    def test_bounded_and_repeatable(self) -> None:
        """The same seed gives the same inputs, and none is longer than the bound."""
        seeds = [bytes(MAX_BYTES), b"abc"]
        first = [mutated(seeds, Random(7)) for _ in range(50)]
        self.assertEqual(first, [mutated(seeds, Random(7)) for _ in range(50)])
        self.assertTrue(all(len(each) <= MAX_BYTES for each in first))
