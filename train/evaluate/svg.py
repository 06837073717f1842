"""Two plots as inline SVG for the report, without a plotting library."""

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT, MARGIN = 640, 360, 30
COLOURS = ("#1f77b4", "#ff7f0e")


def draw_histograms(series: Mapping[str, NDArray[np.float32]], *, bins: int = 60) -> str:
    """Overlaid density histograms, each with area 1.

    Args:
        series: name -> float [any], for at most two names.
        bins: number of bins.
    """
    values = np.concatenate(list(series.values()))
    edges = np.linspace(values.min(), max(values.max(), values.min() + 1e-6), bins + 1)
    densities = {name: np.histogram(some, bins=edges, density=True)[0] for name, some in series.items()}
    top = max(density.max() for density in densities.values())
    x = np.repeat(_scale(edges, edges[0], edges[-1], WIDTH), 2)
    parts = []
    for (name, density), colour in zip(densities.items(), COLOURS, strict=False):
        y = HEIGHT - _scale(np.concatenate([[0.0], np.repeat(density, 2), [0.0]]), 0.0, top, HEIGHT)
        outline = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
        parts.append(
            f'<polygon points="{outline}" fill="{colour}" fill-opacity="0.4" stroke="{colour}"><title>{escape(name)}'
            "</title></polygon>"
        )
    for value in np.linspace(edges[0], edges[-1], 6):
        place = _scale(value, edges[0], edges[-1], WIDTH)
        parts.append(f'<text x="{place:.1f}" y="{HEIGHT - 8}" text-anchor="middle">{value:.2f}</text>')
    return _svg(parts, list(series))


def draw_scatter(series: Mapping[str, NDArray[np.float32]], *, hints: Sequence[str]) -> str:
    """A scatter plot without axes.

    Args:
        series: name -> float [n, 2], for at most two names.
        hints: n texts; each is the tooltip of a point.
    """
    everything = np.concatenate(list(series.values()))
    low, high = everything.min(axis=0), everything.max(axis=0)
    parts = []
    for (name, points), colour in zip(series.items(), COLOURS, strict=False):
        x = _scale(points[:, 0], low[0], high[0], WIDTH)
        y = _scale(points[:, 1], low[1], high[1], HEIGHT)
        parts += [
            f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3" fill="{colour}" fill-opacity="0.6"><title>{escape(name)}: '
            f"{escape(hint)}</title></circle>"
            for a, b, hint in zip(x, y, hints, strict=True)
        ]
    return _svg(parts, list(series))


def _scale(values: NDArray[np.float32], low: float, high: float, size: int) -> NDArray[np.float32]:
    return MARGIN + (values - low) / max(high - low, 1e-12) * (size - 2 * MARGIN)


def _svg(parts: Sequence[str], names: Sequence[str]) -> str:
    legend = [
        f'<rect x="{WIDTH - 150}" y="{8 + 18 * i}" width="12" height="12" fill="{colour}"/>'
        f'<text x="{WIDTH - 132}" y="{18 + 18 * i}">{escape(name)}</text>'
        for i, (name, colour) in enumerate(zip(names, COLOURS, strict=False))
    ]
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">{"".join([*parts, *legend])}</svg>'
