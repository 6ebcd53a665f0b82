"""QR codes as SVG in the page: no other address is asked for them, and no script draws them."""

from __future__ import annotations

import segno
from twisted.web.template import Flattenable, Tag

BORDER = 4
"""Modules of quiet around the code (ISO/IEC 18004)."""
PIXELS = 6
"""Of one module, where there is room."""


def qr_code(text: str, label: str) -> Tag:
    """The code of a text.

    :param label: for those who do not see it.
    """
    rows = [bytes(row) for row in segno.make_qr(text, error="m").matrix]
    size = len(rows) + 2 * BORDER
    shapes = (
        Tag("path", attributes={"fill": "#fff", "d": f"M0 0h{size}v{size}H0z"}),
        Tag("path", attributes={"fill": "#000", "d": _path(rows)}),
    )
    attributes: dict[str | bytes, Flattenable] = {
        "xmlns": "http://www.w3.org/2000/svg",
        "class": "qr",
        "role": "img",
        "aria-label": label,
        "viewBox": f"0 0 {size} {size}",
        "width": str(size * PIXELS),
        "height": str(size * PIXELS),
        "shape-rendering": "crispEdges",
    }
    return Tag("svg", attributes=attributes, children=list(shapes))


def _path(rows: list[bytes]) -> str:
    """A square for each dark module."""
    dark = ((x, y) for y, row in enumerate(rows) for x, module in enumerate(row) if module)
    return "".join(f"M{x + BORDER} {y + BORDER}h1v1h-1z" for x, y in dark)
