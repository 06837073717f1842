"""Routes for search, suggestions and facets."""

import time
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query

from ...index import browse
from ...query import Clip, Source
from ...results import Hit, Part, SungLine
from .. import models
from ..context import Context, Here
from ..problems import Problem
from ..shown import cut, show, show_by_id

router = APIRouter(tags=["search"])


@router.post("/search")
async def find(asked: models.Search, here: Here) -> models.Found:
    """The tracks that fit best, or the newest tracks if the query is empty.

    `lyrics` finds songs by a line, alone or with the rest of the query.
    """
    began_at = time.monotonic()
    where = _where(asked.where)
    like, unlike = await sounds(asked.like, here), await sounds(asked.unlike, here)
    if asked.lyrics and not await here.library.has_lyrics():
        raise Problem(422, "this library has no lyrics: `music-search add LIB PATH... --lyrics` reads them")
    if not (asked.texts or asked.minus or like or unlike or asked.lyrics):
        infos = await here.library.tracks(k=asked.limit + 1, offset=asked.offset, where=where)
        shown = await show(infos[: asked.limit], here)
        hits = [_listed(track) for track in shown]
        return _found(hits, asked, began_at=began_at, has_more=len(infos) > asked.limit)
    found = await here.library.search(
        texts(asked.texts),
        like=like,
        unlike=unlike,
        minus=texts(asked.minus),
        k=asked.limit + 1,  # one more tells whether there is another page
        offset=asked.offset,
        where=where,
        per_artist=asked.per_artist,
        literal=asked.literal,
        names=asked.names,
        windows=asked.windows,
        lyrics=asked.lyrics,
    )
    hits = await show_hits(found[: asked.limit], here)
    return _found(hits, asked, began_at=began_at, has_more=len(found) > asked.limit, reading=read(found))


@router.get("/suggest")
async def suggest(
    here: Here,
    q: Annotated[str, Query(max_length=200)] = "",
    limit: Annotated[int, Query(ge=1, le=50)] = 8,
) -> models.Suggestions:
    """Completions for a text that is being typed: artists, titles, albums and genres of the library."""
    found = await here.library.suggest(q, k=limit) if q.strip() else []
    return models.Suggestions(
        suggestions=[models.Suggestion(text=cut(one.text), kind=one.kind, count=one.count) for one in found]
    )


@router.get("/facets")
async def facets(
    here: Here,
    fields: Annotated[
        str | None, Query(max_length=2000, description="names separated by commas; without it, all fields")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    containing: Annotated[str, Query(max_length=200)] = "",
) -> models.Facets:
    """The values of metadata fields: texts with counts of tracks, and ranges of numbers.

    Only the `limit` most frequent texts that contain `containing` are listed.
    """
    asked = [field for field in fields.split(",") if field] if fields else None
    async with here.turns.one():
        found = await here.library.facets(asked, most=limit, containing=containing)
    return models.Facets(facets={name: _facet(facet) for name, facet in found.items()})


def _facet(facet: browse.Facet) -> models.Range | list[models.Counted]:
    if facet.low is None or facet.high is None:
        return [models.Counted(value=cut(one.value), count=one.count) for one in facet.values]
    begins = [float(one.value) for one in facet.bins or []]
    bins = [
        {"from": begin, "to": end, "count": one.count}
        for begin, end, one in zip(begins, [*begins[1:], facet.high], facet.bins or [], strict=True)
    ]
    return models.Range.model_validate({"from": facet.low, "to": facet.high, "bins": bins})


def texts(given: Sequence[models.WeightedText]) -> dict[str, float]:
    weights: dict[str, float] = {}
    for one in given:
        weights[one.text] = weights.get(one.text, 0.0) + one.weight
    return weights


async def sounds(given: Sequence[models.Sound], here: Context) -> dict[Source, float]:
    """Resolve tracks and uploads by their ids to sources with weights; no path is ever taken from a request."""
    weights: dict[Source, float] = {}
    for one in given:
        if (one.track is None) == (one.upload is None):
            raise Problem(422, "a sound is either a track or an upload")
        begin_s, is_part = one.start_s or 0.0, one.start_s is not None or one.end_s is not None
        if one.end_s is not None and one.end_s <= begin_s:
            raise Problem(422, f"the part from {begin_s:g} to {one.end_s:g} s of a sound has no length")
        source: Source
        if one.track is not None:
            info = await here.track(one.track)
            source = Clip(info.path, begin_s, one.end_s) if is_part else info.track_id
        else:
            path = here.uploads.path(one.upload or "")
            source = Clip(path, begin_s, one.end_s) if is_part else path
        weights[source] = weights.get(source, 0.0) + one.weight
    return weights


def _where(given: dict[str, Any]) -> dict[str, Any] | None:
    wanted = {
        name: (bounds.from_, bounds.to) if isinstance(bounds, models.Bounds) else bounds
        for name, bounds in given.items()
    }
    return {name: bounds for name, bounds in wanted.items() if bounds != (None, None)} or None


async def show_hits(found: Sequence[Hit], here: Context) -> list[models.Hit]:
    """Convert hits; hits whose tracks were removed are left out."""
    shown = await show_by_id([hit.track_id for hit in found], here)
    return [
        models.Hit(
            track=shown[hit.track_id],
            score=hit.score,
            probability=hit.probability,
            weak=hit.weak,
            found_by=list(hit.found_by),
            start_s=hit.start_s,
            windows=show_windows(hit.windows) if hit.windows is not None else None,
            lyrics=_show_line(hit.lyrics) if hit.lyrics is not None else None,
        )
        for hit in found
        if hit.track_id in shown
    ]


def _show_line(line: SungLine) -> models.SungLine:
    return models.SungLine(text=cut(line.text), start_s=line.start_s, fit=line.fit)


def show_windows(parts: Sequence[Part]) -> models.Windows:
    fits = [part.score if part.probability is None else part.probability for part in parts]
    return models.Windows(
        starts_s=[part.start_s for part in parts], fits=[round(min(max(fit, 0.0), 1.0), 3) for fit in fits]
    )


def read(found: Sequence[Hit]) -> models.Reading | None:
    """How a query was read; every hit carries the same reading."""
    reading = found[0].reading if found else None
    if reading is None:
        return None
    return models.Reading(wanted=reading.wanted, unwanted=reading.unwanted, parts=reading.parts)


def _listed(track: models.Track) -> models.Hit:
    return models.Hit(track=track, score=0.0, probability=None, weak=False, found_by=[], start_s=None, windows=None)


def _found(
    hits: list[models.Hit],
    asked: models.Search,
    *,
    began_at: float,
    has_more: bool,
    reading: models.Reading | None = None,
) -> models.Found:
    following = asked.offset + asked.limit
    return models.Found(
        hits=hits,
        reading=reading,
        weak=any(hit.weak for hit in hits),
        next_offset=following if has_more and following <= models.MOST_OFFSET else None,
        seconds=round(time.monotonic() - began_at, 4),
    )
