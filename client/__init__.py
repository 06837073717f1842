"""Find music by describing it.

>>> from client import MusicSearch
>>> ms = MusicSearch("library")                                  # doctest: +SKIP
>>> ms.add(["~/Music"])                                          # doctest: +SKIP
>>> ms.search("calm solo piano at night", k=10)                  # doctest: +SKIP
"""

from .asynchronous import AsyncMusicSearch
from .duplicates import Duplicate
from .encoders import Encoder, EncoderSpec
from .encoders.triton import TritonEncoder
from .errors import (
    AudioError,
    EncoderError,
    LibraryBusy,
    LibraryError,
    ModelMismatch,
    MusicSearchError,
    QueryError,
    ServerBusy,
    ServerMismatch,
    ServerTimeout,
    ServerUnavailable,
    StoreError,
)
from .index.browse import Facet, FacetValue, Glance, Suggestion
from .index.recall import Recall
from .ingest import AddReport, TrackWarning
from .query import Clip, Reading, read_query
from .results import Hit, LibraryInfo, LibraryMap, Part, RemovedMissing, SungLine, TrackInfo
from .search import MusicSearch
from .walk import FailedTrack
from .zero_shot import Tag, TaggedTrack

__all__ = [
    "AddReport",
    "AsyncMusicSearch",
    "AudioError",
    "Clip",
    "Duplicate",
    "Encoder",
    "EncoderError",
    "EncoderSpec",
    "Facet",
    "FacetValue",
    "FailedTrack",
    "Glance",
    "Hit",
    "LibraryBusy",
    "LibraryError",
    "LibraryInfo",
    "LibraryMap",
    "ModelMismatch",
    "MusicSearch",
    "MusicSearchError",
    "Part",
    "QueryError",
    "Reading",
    "Recall",
    "RemovedMissing",
    "ServerBusy",
    "ServerMismatch",
    "ServerTimeout",
    "ServerUnavailable",
    "StoreError",
    "Suggestion",
    "SungLine",
    "Tag",
    "TaggedTrack",
    "TrackInfo",
    "TrackWarning",
    "TritonEncoder",
    "read_query",
]
