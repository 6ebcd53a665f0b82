"""From measured figures to the table: pure, so that a test can check the arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from attrs import frozen

UNITS = {
    "s": ((" s", 1.0), (" ms", 1e3), (" us", 1e6)),
    "1/s": (("/s", 1.0),),
    "B/s": ((" MB/s", 1e-6),),
    "B": ((" MiB", 1 / (1 << 20)), (" KiB", 1 / 1024)),
    "%": ((" %", 1.0),),
}
"""For each unit in which is measured, those in which it is shown, with how many of them make one."""
HEADINGS = ("what", "ours", "the other", "ratio", "its range", "target", "met")


@frozen
class Target:
    """What a ratio has to be: at most ``bound``, or at least."""

    bound: float
    at_most: bool

    def met_by(self, ratio: float) -> bool:
        return ratio <= self.bound if self.at_most else ratio >= self.bound

    def __str__(self) -> str:
        return f"{'at most' if self.at_most else 'at least'} {self.bound:g} x"


@frozen
class More:
    """At most so much more than the other, in the unit of the figures; a target that is no ratio."""

    bound: float


def at_most(bound: float) -> Target:
    return Target(bound, at_most=True)


def at_least(bound: float) -> Target:
    return Target(bound, at_most=False)


@frozen
class Comparison:
    """Two ways to do one thing, measured in turns.

    :ivar unit: of the figures, one of :data:`UNITS`, such as ``s`` (what one takes) or ``1/s`` (how many in a second).
    :ivar ours: one figure for each round; so ``other``, of the same rounds.
    """

    what: str
    unit: str
    target: Target | More
    ours: Sequence[float]
    other: Sequence[float]

    @property
    def ratio(self) -> float:
        """Of the two medians."""
        return median(self.ours) / median(self.other)

    @property
    def met(self) -> bool:
        if isinstance(self.target, More):
            return median(self.ours) - median(self.other) <= self.target.bound
        return self.target.met_by(self.ratio)

    def _target(self) -> str:
        if isinstance(self.target, More):
            return f"at most {shown(self.target.bound, self.unit)} more"
        return str(self.target)

    def cells(self) -> tuple[str, ...]:
        """One row of the table."""
        ratios = [ours / other for ours, other in zip(self.ours, self.other, strict=True)]
        return (
            self.what,
            shown(median(self.ours), self.unit),
            shown(median(self.other), self.unit),
            f"{self.ratio:.2f} x",
            f"{min(ratios):.2f} to {max(ratios):.2f}",
            self._target(),
            "yes" if self.met else "NO",
        )


def shown(figure: float, unit: str) -> str:
    """A figure with three digits or more, in the largest unit in which it is at least one."""
    units = UNITS[unit]
    name, many = next(((name, many) for name, many in units if figure * many >= 1), units[-1])
    value = figure * many
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:,.{digits}f}{name}"


def table(comparisons: Sequence[Comparison]) -> str:
    """The rows as a simple table of reStructuredText, which is easy to read as it is."""
    rows = [HEADINGS, *(comparison.cells() for comparison in comparisons)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rule = "  ".join("=" * width for width in widths)
    first, *others = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    return "\n".join((rule, first, rule, *others, rule))
