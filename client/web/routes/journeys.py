"""Routes for paths between tracks, and for radio."""

from collections.abc import Sequence

from fastapi import APIRouter

from ...results import Hit
from .. import models
from ..context import Context, Here
from ..shown import show_by_id

router = APIRouter(tags=["journeys"])


@router.post("/path")
async def path(asked: models.Journey, here: Here) -> models.Tracks:
    """Tracks that lead from one track to another in small steps."""
    first, last = await here.track(asked.from_), await here.track(asked.to)
    async with here.turns.one():
        found = await here.library.path(first.track_id, last.track_id, steps=asked.steps)
    return await _shown(found, here)


@router.post("/radio")
async def radio(asked: models.Radio, here: Here) -> models.Tracks:
    """Endless radio: the next tracks to listen to."""
    start = await here.track(asked.start)
    async with here.turns.one():
        found = await here.library.radio(
            start.track_id, k=asked.limit, drift=asked.drift, seed=asked.seed, played=asked.played
        )
    return await _shown(found, here)


async def _shown(hits: Sequence[Hit], here: Context) -> models.Tracks:
    shown = await show_by_id([hit.track_id for hit in hits], here)
    return models.Tracks(tracks=[shown[hit.track_id] for hit in hits if hit.track_id in shown])
