"""Pictures of benches for the documentation: plain SVG, drawn without a library. They bring their ground, so dark pages show them too."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

WIDTH = 880
COLOURS = ("#c2410c", "#1d4ed8", "#0f766e")
INK, PALE, GROUND = "#1f2937", "#d1d5db", "#ffffff"
# Tenants a row, and the side of a tenant's cell, in the picture of a flood.
CELLS, SIDE = 100, 2.5


def shares(
    title: str, note: str, names: Sequence[str], limits: Sequence[float], rows: Sequence[tuple[str, Sequence[float], Sequence[float]]]
) -> str:
    """Draw a line a row: title, what was offered in words and as a mix, and what passed as a bar with a part for each name.

    Lines stand where the parts should end: at the sums of ``limits``.
    """
    left, mix_left, bar_left, step, top = 20, 325, 450, 34, 110
    scale = (WIDTH - bar_left - 30) / sum(limits)
    height = top + step * len(rows) + 30
    parts = [_text(left, 30, title, size=18, bold=True), _text(left, 52, note)]
    for number, name in enumerate(names):
        x = left + 110 * number
        parts += [_box(x, 66, 12, 12, COLOURS[number]), _text(x + 18, 77, name)]
    parts += [_text(mix_left, top - 10, "offered mix"), _text(bar_left, top - 10, "passed")]
    for number, (name, offered, passed) in enumerate(rows):
        y = top + step * number
        parts.append(_text(left, y + 11, name, bold=name.startswith("sandbox")))
        parts.append(_text(left, y + 24, f"{sum(offered):,.0f} a second offered", size=10))
        parts += _stack(mix_left, y, [100 * each / sum(offered) for each in offered])
        parts += _stack(bar_left, y, [each * scale for each in passed])
    for number in range(len(limits)):
        x = bar_left + scale * sum(limits[: number + 1])
        parts.append(f'<path d="M{x:.1f} {top - 4}V{height - 26}" stroke="{INK}" stroke-dasharray="3 3"/>')
    return _page(height, title, parts)


def floods(title: str, note: str, panels: Sequence[tuple[str, str, Sequence[bool]]]) -> str:
    """Draw a square a panel: title, words, and a cell for each tenant, those of one key side by side; filled where it was refused."""
    gap, top = 30, 110
    side = CELLS * SIDE
    parts = [_text(20, 30, title, size=18, bold=True), _text(20, 52, note)]
    for number, (name, words, refused) in enumerate(panels):
        x = 20 + number * (side + gap)
        rows = -(-len(refused) // CELLS)
        parts += [_text(x, top - 28, name, size=14, bold=True), _text(x, top - 10, words)]
        parts.append(_box(x, top, side, rows * SIDE, PALE))
        parts.append(f'<path transform="translate({x:.1f} {top})" fill="{COLOURS[0]}" d="{_cells(refused)}"/>')
    return _page(int(top + side + 20), title, parts)


def _cells(filled: Sequence[bool]) -> str:
    """Runs of filled cells as rectangles of one path."""
    path, start = [], None
    for position in range(len(filled) + 1):
        on = position < len(filled) and filled[position]
        if start is not None and (not on or position % CELLS == 0):
            path.append(
                f"M{start % CELLS * SIDE:g} {start // CELLS * SIDE:g}h{(position - start) * SIDE:g}v{SIDE:g}H{start % CELLS * SIDE:g}z"
            )
            start = None
        if on and start is None:
            start = position
    return "".join(path)


def _stack(x: float, y: float, lengths: Sequence[float]) -> list[str]:
    boxes = []
    for colour, length in zip(COLOURS, lengths, strict=True):
        boxes.append(_box(x, y, length, 22, colour))
        x += length
    return boxes


def _box(x: float, y: float, width: float, height: float, colour: str) -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(0, width):.1f}" height="{height:.1f}" fill="{colour}"/>'


def _text(x: float, y: float, words: str, *, size: int = 12, bold: bool = False) -> str:
    weight = ' font-weight="600"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}"{weight}>{escape(words)}</text>'


def _page(height: int, title: str, parts: Sequence[str]) -> str:
    look = f'font-family="system-ui, sans-serif" fill="{INK}" role="img"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" {look}>'
    return "\n".join([head, f"<title>{escape(title)}</title>", _box(0, 0, WIDTH, height, GROUND), *parts, "</svg>", ""])
