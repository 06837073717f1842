"""Routes for the library as a whole, and for its failed, missing and duplicate tracks."""

import os
from typing import Annotated

from fastapi import APIRouter, Depends, Query

from ...errors import LibraryError, QueryError
from ...index.browse import Glance
from ...results import LibraryInfo
from .. import models
from ..context import Context, Here, may_change
from ..shown import show, show_by_id, shown_path

router = APIRouter(tags=["library"])


@router.get("/library")
async def get_library(here: Here) -> models.Library:
    """A summary of the library, and the permissions of clients."""
    settings, spec = here.settings, here.library.spec
    counts: Glance | LibraryInfo
    try:
        counts = await here.library.glance()
        fields = counts.fields
    except QueryError:  # a Milvus library has no `glance`
        counts, fields = await here.library.info(), []
    return models.Library(
        name=settings.name,
        tracks=counts.tracks,
        missing=counts.missing,
        failed=counts.failed,
        duration_s=counts.duration_s,
        model_name=spec.model_name,
        fingerprint=spec.fingerprint,
        window_s=spec.window_s,
        read_only=settings.read_only,
        local=settings.is_local,
        state=await here.state(),
        fields=fields,
        lyrics=await _has_lyrics(here),
        map=models.MapState(state=here.maps.state),
    )


async def _has_lyrics(here: Context) -> bool:
    try:
        return await here.library.has_lyrics()
    except LibraryError:  # it has some, and whoever searches them learns what is wrong
        return True


@router.get("/failed")
async def failed(here: Here) -> models.Failed:
    """The files that could not be used when they were last added."""
    files = await here.library.failed()
    return models.Failed(
        failed=[
            models.FailedFile(
                file=shown_path(file.path, here),
                reason=file.reason if here.settings.is_local else file.reason.replace(os.path.dirname(file.path), "…"),
            )
            for file in files
        ]
    )


@router.get("/missing")
async def missing(
    here: Here,
    offset: Annotated[int, Query(ge=0, le=10_000_000)] = 0,
    limit: Annotated[int, Query(ge=1, le=models.MOST_HITS)] = 50,
) -> models.Tracks:
    """The tracks whose files were not there when their folders were last added."""
    infos = await here.library.missing()
    tracks = await show(infos[offset : offset + limit], here)
    return models.Tracks(tracks=tracks, next_offset=offset + limit if len(infos) > offset + limit else None)


@router.post("/missing/forget", dependencies=[Depends(may_change)])
async def forget_missing(here: Here) -> models.Forgotten:
    """Remove missing tracks whose files are still missing."""
    done = await here.library.remove_missing()
    return models.Forgotten(removed=len(done.removed), back=len(done.back))


@router.get("/duplicates")
async def duplicates(here: Here, least: Annotated[float, Query(ge=0.5, le=1.0)] = 0.98) -> models.Duplicates:
    """Pairs of tracks that are nearly the same recording, the most similar first."""
    found = await here.duplicates.find(least=least, state=await here.state())
    shown = await show_by_id([track_id for pair in found for track_id in (pair.first, pair.second)], here)
    return models.Duplicates(
        pairs=[
            models.Pair(first=shown[pair.first], second=shown[pair.second], similarity=pair.similarity)
            for pair in found
            if pair.first in shown and pair.second in shown
        ]
    )
