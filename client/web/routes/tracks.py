"""Routes for a single track."""

import time
from typing import Annotated

from fastapi import APIRouter, Depends, Query

from .. import models
from ..context import Here, may_change
from ..shown import show
from .searching import show_hits, show_windows, sounds, texts

router = APIRouter(prefix="/tracks/{track_id}", tags=["tracks"])


@router.get("")
async def get_track(track_id: str, here: Here) -> models.Track:
    (shown,) = await show([await here.track(track_id)], here)
    return shown


@router.get("/lyrics")
async def lyrics(track_id: str, here: Here) -> models.Lyrics:
    """The lyrics of the track, without any lines if it has none."""
    info = await here.track(track_id)
    lines = await here.library.lyrics(info.track_id)
    return models.Lyrics(lines=[models.LyricsLine(text=text, start_s=start_s) for start_s, text in lines])


@router.get("/similar")
async def similar(
    track_id: str,
    here: Here,
    limit: Annotated[int, Query(ge=1, le=models.MOST_HITS)] = 10,
    per_artist: Annotated[int | None, Query(ge=1, le=1000)] = None,
) -> models.Found:
    """The most similar tracks, without the track itself, which still counts for `per_artist`."""
    began_at = time.monotonic()
    info = await here.track(track_id)
    found = await here.library.search(like=[info.track_id], k=limit + 1, per_artist=per_artist, windows=True)
    others = [hit for hit in found if hit.track_id != info.track_id][:limit]
    hits = await show_hits(others, here)
    seconds = round(time.monotonic() - began_at, 4)
    return models.Found(hits=hits, reading=None, weak=False, next_offset=None, seconds=seconds)


@router.post("/windows")
async def windows(track_id: str, asked: models.Wish, here: Here) -> models.ScoredWindows:
    """How well each window of the track fits a query."""
    info = await here.track(track_id)
    along = await here.library.along(
        info.track_id,
        texts(asked.texts),
        like=await sounds(asked.like, here),
        unlike=await sounds(asked.unlike, here),
        minus=texts(asked.minus),
        literal=asked.literal,
    )
    shown = show_windows(along)
    return models.ScoredWindows(starts_s=shown.starts_s, fits=shown.fits, scores=[part.score for part in along])


@router.post("/tags")
async def tags(track_id: str, asked: models.Labels, here: Here) -> models.Tags:
    """Rank these labels for the track, the best first."""
    info = await here.track(track_id)
    async with here.turns.one():
        ranked = await here.library.zero_shot(info.track_id, list(dict.fromkeys(asked.labels)))
    return models.Tags(
        tags=[models.Tag(label=tag.label, score=tag.score, probability=tag.probability) for tag in ranked]
    )


@router.put("/annotations", dependencies=[Depends(may_change)])
async def annotate(track_id: str, values: models.Annotations, here: Here) -> models.Track:
    """Set annotations of the track; null removes one."""
    info = await here.track(track_id)
    await here.library.annotate({info.track_id: values})
    return await get_track(info.track_id, here)
