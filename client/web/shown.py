"""Converts tracks to the form that clients see."""

import asyncio
import os
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from ..places import is_url
from ..results import TrackInfo
from . import models
from .context import Context

_MOST_LETTERS, _MOST_VALUES = 500, 32  # of a text and of a list, because a tag may hold megabytes

_Known = TypeVar("_Known")


async def show(infos: Sequence[TrackInfo], here: Context) -> list[models.Track]:
    """Convert tracks, and check whether local files exist now; files in a store have the state of their last `add`."""
    missing = await asyncio.to_thread(
        lambda: [info.is_missing if is_url(info.path) else not os.path.exists(info.path) for info in infos]
    )
    return [
        _track(info, is_missing=is_missing, is_local=here.settings.is_local)
        for info, is_missing in zip(infos, missing, strict=True)
    ]


async def show_by_id(track_ids: Iterable[str], here: Context) -> dict[str, models.Track]:
    """Convert the tracks with these ids, by id; tracks that are not in the library any more are left out."""
    infos = await here.library.tracks_by_id(list(track_ids))
    return {track.id: track for track in await show([*infos.values()], here)}


def shown_path(path: str, here: Context) -> str:
    """The path that a client sees: the whole path on this machine, only the file name on others."""
    return path if here.settings.is_local else os.path.basename(path)


def cut(value: _Known) -> _Known:
    """Shorten a value of metadata: at most 500 characters of a text, and 32 values of a list."""
    shown: Any = value
    if isinstance(value, str) and len(value) > _MOST_LETTERS:
        shown = value[: _MOST_LETTERS - 1] + "…"
    elif isinstance(value, list):
        shown = [cut(one) for one in value[:_MOST_VALUES]]
    return shown  # type: ignore[no-any-return]


def _track(info: TrackInfo, *, is_missing: bool, is_local: bool) -> models.Track:
    known = info.metadata
    name = os.path.basename(info.path)
    return models.Track(
        id=info.track_id,
        title=_text(known.get("title")) or os.path.splitext(name)[0],
        artist=cut(_texts(known.get("artist"))),
        album=_text(known.get("album")),
        genre=cut(_texts(known.get("genre"))),
        year=int(year) if (year := _number(known.get("year"))) is not None else None,
        bpm=_number(known.get("bpm")),
        key=_text(known.get("key")),
        metadata={name: cut(value) for name, value in known.items()},
        annotations=info.annotations,  # not shortened, because the page edits them
        hidden_tags={name: cut(value) for name, value in info.tags.items() if name in info.annotations},
        duration_s=info.duration_s,
        file=info.path if is_local else name,
        missing=is_missing,
        warning=info.warning,
    )


def _texts(value: Any) -> list[str]:
    """The value as texts, because annotations may have any type, whatever their name."""
    if isinstance(value, list):
        return [text for one in value for text in _texts(one)]
    return [] if value is None or value == "" else [str(value)]


def _text(value: Any) -> str | None:
    return cut(", ".join(cut(_texts(value)))) or None


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
