"""Routes for a track's sound and cover, by track id; only the library knows the file."""

import asyncio
import os
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from ...audio import check_file
from ...errors import AudioError
from ...places import is_url
from ...results import TrackInfo
from .. import mp3
from ..context import Context, Here
from ..covers import read_cover
from ..kinds import Kind, media_type_of, read_kind
from ..problems import Problem
from ..ranges import FilePart, Part, answer, is_known, version_of
from ..shown import shown_path

router = APIRouter(tags=["sound"])


@router.head("/tracks/{track_id}/audio", response_class=Response, include_in_schema=False)
@router.get("/tracks/{track_id}/audio", response_class=Response)
async def audio(
    track_id: str,
    request: Request,
    here: Here,
    form: Annotated[Literal["mp3", "source"] | None, Query(alias="as")] = None,
) -> Response:
    """The sound, or the requested byte range: the file itself if browsers play it, otherwise converted to MP3."""
    info = await here.track(track_id)
    status = await _status(info, here)
    kind = await _kind(info, status, here)  # read now, because the file may have been replaced
    media_type = media_type_of(kind, info.path) if form != "source" else "application/octet-stream"
    if media_type is not None and (form != "mp3" or media_type == "audio/mpeg"):
        tag, size = version_of(status), status.st_size

        async def open_part(begin: int, end: int) -> Part:
            file = await asyncio.to_thread(open, info.path, "rb")
            if version_of(os.fstat(file.fileno())) != tag:
                file.close()
                raise Problem(409, "the file has just changed: try again")
            return FilePart(file, begin=begin, end=end)

    else:
        frames = mp3.frames_of(info.duration_s)
        media_type, tag, size = "audio/mpeg", version_of(status, form="-mp3"), (frames + 1) * mp3.FRAME_BYTES

        async def open_part(begin: int, end: int) -> Part:
            return await here.transcoders.open(info.path, frames=frames, begin=begin, end=end)

    return await answer(request, size=size, tag=tag, status=status, media_type=media_type, open_part=open_part)


@router.head("/tracks/{track_id}/cover", response_class=Response, include_in_schema=False)
@router.get("/tracks/{track_id}/cover", response_class=Response)
async def cover(track_id: str, request: Request, here: Here) -> Response:
    """The cover in the file's tags; 204 if there is none, or the file is in a store."""
    info = await here.track(track_id)
    if is_url(info.path):
        return Response(status_code=204)
    tag = version_of(await _status(info, here), form=f"-{track_id}")
    headers = {"ETag": tag, "Cache-Control": "private, max-age=3600"}
    if is_known(request, tag=tag):
        return Response(status_code=304, headers=headers)
    if tag not in here.covers:
        here.covers.keep(tag, await here.decoders.call(read_cover, info.path))
    picture = here.covers[tag]
    if picture is None:
        return Response(status_code=204, headers=headers)  # a 404 would show as an error in the browser's console
    headers["Content-Length"] = str(len(picture.content))
    content = b"" if request.method == "HEAD" else picture.content
    return Response(content, headers=headers, media_type=picture.media_type)


async def _status(info: TrackInfo, here: Context) -> os.stat_result:
    name = shown_path(info.path, here)
    if is_url(info.path):
        raise Problem(501, f"{name} is in a store, but this page plays only files on its own machine", kind="remote")
    try:
        return await asyncio.to_thread(check_file, info.path)
    except AudioError as exc:
        raise Problem(410, f"{name} no longer exists: it was moved, renamed or deleted", kind="moved") from exc


async def _kind(info: TrackInfo, status: os.stat_result, here: Context) -> Kind:
    tag = version_of(status, form=f"-{info.track_id}")
    if tag not in here.kinds:
        here.kinds.keep(tag, await here.decoders.call(read_kind, info.path))
    return here.kinds[tag]
