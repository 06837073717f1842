"""The route that exports playlists."""

from urllib.parse import quote

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from ...playlists import FORMATS, Entry
from .. import models
from ..context import Here
from ..problems import Problem
from ..safety import API
from ..shown import show_by_id

router = APIRouter(tags=["playlists"])

_MEDIA_TYPES = {"m3u8": "audio/x-mpegurl", "xspf": "application/xspf+xml", "jspf": "application/jspf+json"}


@router.post("/playlists", response_class=Response)
async def make_playlist(asked: models.NewPlaylist, request: Request, here: Here) -> Response:
    """A playlist of files on the server's machine, elsewhere of addresses that anybody can play for 12 hours."""
    shown = await show_by_id(asked.tracks, here)
    if gone := [track_id for track_id in asked.tracks if track_id not in shown]:
        raise Problem(404, f"{len(gone)} of these tracks are no longer in the library")
    entries = []
    for track in (shown[track_id] for track_id in asked.tracks):
        stream = f"{str(request.base_url).rstrip('/')}{API}/tracks/{track.id}/audio{here.tokens.signed(track.id)}"
        known = {"title": track.title, "artist": track.artist, "album": track.album}
        entries.append(Entry(track.file if here.settings.is_local else stream, track.duration_s, known))
    name = "".join(letter for letter in asked.name if letter.isprintable() and letter not in '\\/:*?"<>|').strip(" .")
    file_name = quote(f"{name or 'playlist'}.{asked.format}", safe="")
    headers = {"Content-Disposition": f"attachment; filename*=UTF-8''{file_name}"}
    content = FORMATS[asked.format](entries, name=asked.name)
    return Response(content, headers=headers, media_type=_MEDIA_TYPES[asked.format])
