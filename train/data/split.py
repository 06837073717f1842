"""Splits a manifest's rows at random into training, validation and test."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from train.data.adapters.layout import draw
from train.data.manifest import SPLITS, ManifestError, Row
from train.data.member import Member

SHARES = (80.0, 10.0, 10.0)
"""Shares of training, validation and test, in percent (MusCALL §4.1)."""


def split_rows(rows: Sequence[Row], *, shares: Sequence[float] = SHARES, seed: int = 0) -> list[Row]:
    """Return the rows in their order with new splits; existing splits are ignored.

    A row's split depends only on `seed` and its track_id, so it stays when other rows are added. Rows of one recording
    stay together; the track_id of the first one decides.

    Args:
        rows: rows of a manifest.
        shares: shares of `SPLITS`, in any unit, not negative, with a sum above 0.
        seed: changes all splits.

    Raises:
        ManifestError: the shares are invalid, or there are so few rows that a split with a share gets none.
    """
    if len(shares) != len(SPLITS) or min(shares) < 0 or not 0 < sum(shares) < math.inf:
        raise ManifestError(f"shares are {list(shares)}; expected three numbers of 0 or more, such as 80 10 10")
    ends = np.cumsum(shares)
    names: dict[Path | Member, str] = {}
    for row in rows:
        names.setdefault(row.audio, row.track_id)
    drawn = [draw(names[row.audio], seed=seed) for row in rows]
    places = np.searchsorted(ends / ends[-1], drawn, side="right").tolist()
    for place, (split, share) in enumerate(zip(SPLITS, shares, strict=True)):
        if share and place not in places:
            raise ManifestError(
                f"none of the {len(rows)} rows falls to split {split!r} with a share of {share:g} in {sum(shares):g}; "
                "add tracks, raise its share, or take another seed"
            )
    return [replace(row, split=SPLITS[place]) for row, place in zip(rows, places, strict=True)]
