"""Which of several nodes is meant: where that cannot be told, they are shown, and how one of them is named."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from teleport_conch.cli.table import inert
from teleport_conch.cli.tsh.nodes import verbose_table
from teleport_conch.errors import AmbiguousName
from teleport_conch.resources.server import PREFERENCE, Server


def only(nodes: Sequence[Server], name: str) -> Server:
    """The one that is most certainly there, as the proxy chooses among several.

    :param name: what was asked for.
    :raises AmbiguousName: several are; they have been shown.
    """
    best = min(PREFERENCE.index(node.presence.state) for node in nodes)
    present = [node for node in nodes if node.presence.state is PREFERENCE[best]]
    if len(present) > 1:
        sys.stderr.write(f"{verbose_table(present, sys.stderr)}\n")
        raise AmbiguousName(
            f"{inert(name)} may be any of these nodes: say which by its ID (tsh ssh {present[0].name}), or by a label"
            f" that it alone has (tsh ssh {inert(_telling_label(present))})."
        )
    return present[0]


def _telling_label(nodes: Sequence[Server]) -> str:
    """A label of the first that none of the others has; the form of one where there is none."""
    others = [set(node.all_labels.items()) for node in nodes[1:]]
    own = sorted(nodes[0].all_labels.items())
    return next(
        (f"{key}={value}" for key, value in own if not any((key, value) in each for each in others)), "label=value"
    )
