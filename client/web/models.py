"""The JSON models of the API."""

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from pydantic_core import PydanticCustomError

from ..index.fields import Value

MOST_HITS = 200
MOST_OFFSET = 10_000
_MOST_TEXTS = 32


def _unicode(text: str) -> str:
    """Refuse lone surrogates, which JSON can escape but UTF-8 cannot encode."""
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        raise ValueError("is not valid Unicode") from exc
    return text


def _expecting(kinds: str) -> WrapValidator:
    """A validator that gives one error message for a union, instead of one for each of its types."""

    def check(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        try:
            return handler(value)
        except ValidationError as exc:
            of_its_kind = (error["msg"] for error in exc.errors() if not error["type"].endswith(("_type", "_parsing")))
            raise PydanticCustomError("value", "{said}", {"said": next(of_its_kind, kinds)}) from exc

    return WrapValidator(check)


Text = Annotated[str, Field(min_length=1, max_length=16_384), AfterValidator(_unicode)]
Name = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_unicode)]
Path = Annotated[str, Field(min_length=1, max_length=4096), AfterValidator(_unicode)]
Id = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$", description="id of a track")]
UploadId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
Weight = Annotated[float, Field(gt=0, le=1e6)]
Seconds = Annotated[float, Field(ge=0, le=1e6)]
Number = Annotated[int, Field(ge=-(10**15), le=10**15)] | Annotated[float, Field(ge=-1e15, le=1e15)]


class Given(BaseModel):
    """The base class of models that a client sends."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class Model(BaseModel):
    """The base class of models that a client receives."""

    model_config = ConfigDict(allow_inf_nan=False)


class WeightedText(Given):
    text: Text
    weight: Weight = 1.0


class Sound(Given):
    """A track, an upload, or a part of one."""

    track: Id | None = None
    upload: UploadId | None = None
    start_s: Seconds | None = None
    end_s: Seconds | None = None
    weight: Weight = 1.0


class Bounds(Given):
    """Both included; null is no bound."""

    from_: Number | None = Field(None, alias="from")
    to: Number | None = None


Wanted = Annotated[
    bool | Number | Name | Bounds | Annotated[list[bool | Number | Name], Field(min_length=1, max_length=200)],
    _expecting(
        "expected a text, a number, true or false, a list of these, or bounds: from and to, each a number or null"
    ),
]


class Wish(Given):
    """What the wanted tracks sound like, and what they must not sound like."""

    texts: Annotated[list[WeightedText], Field(max_length=_MOST_TEXTS)] = []
    minus: Annotated[list[WeightedText], Field(max_length=_MOST_TEXTS)] = []
    like: Annotated[list[Sound], Field(max_length=_MOST_TEXTS)] = []
    unlike: Annotated[list[Sound], Field(max_length=_MOST_TEXTS)] = []
    literal: bool = False


class Search(Wish):
    lyrics: Annotated[
        str,
        Field(max_length=16_384, description="words of the song, as they are remembered"),
        AfterValidator(_unicode),
    ] = ""
    where: Annotated[dict[Name, Wanted], Field(max_length=32)] = {}
    per_artist: Annotated[int, Field(ge=1, le=1000)] | None = None
    names: Literal["also", "only", "never"] = "also"
    offset: Annotated[int, Field(ge=0, le=MOST_OFFSET)] = 0
    limit: Annotated[int, Field(ge=1, le=MOST_HITS)] = 20
    windows: bool = True


Annotation = Annotated[
    bool
    | Number
    | Annotated[str, Field(max_length=10_000), AfterValidator(_unicode)]
    | Annotated[list[Name], Field(max_length=200)],
    _expecting("expected a text, a number, true or false, or a list of texts"),
]
Annotations = Annotated[dict[Name, Annotation | None], Field(min_length=1, max_length=100)]


class Labels(Given):
    labels: Annotated[list[Name], Field(min_length=1, max_length=500)]


class NewPlaylist(Given):
    name: Name = "MusicSearch"
    tracks: Annotated[list[Id], Field(max_length=10_000)]
    format: Literal["m3u8", "xspf", "jspf"] = "m3u8"


class NewJob(Given):
    kind: Literal["add"] = "add"
    paths: Annotated[list[Path], Field(min_length=1, max_length=100)]


class Token(Given):
    token: Annotated[str, Field(max_length=256)]


class Words(Given):
    text: Text


class Journey(Given):
    """A path from one track to another."""

    from_: Id = Field(alias="from")
    to: Id
    steps: Annotated[int, Field(ge=2, le=100)] = 8


class Radio(Given):
    start: Id
    drift: Annotated[float, Field(ge=0, le=1)] = 0.3
    limit: Annotated[int, Field(ge=1, le=MOST_HITS)] = 20
    seed: Annotated[int, Field(ge=0, lt=1 << 32)] = 0
    played: Annotated[list[Id], Field(max_length=10_000)] = []


class Track(Model):
    """A track. `metadata` holds the file's tags and the user's annotations; annotations hide tags of the same name."""

    id: str
    title: str
    artist: list[str]
    album: str | None
    genre: list[str]
    year: int | None
    bpm: float | None
    key: str | None
    metadata: dict[str, Value]
    annotations: dict[str, Value]
    hidden_tags: dict[str, Value]
    duration_s: float
    file: str
    missing: bool
    warning: str


class Windows(Model):
    """Start of each window of a track, and how well it fits: its probability, or its score if that is not known."""

    starts_s: list[float]
    fits: list[float]


class ScoredWindows(Windows):
    scores: list[float]


class LyricsLine(Model):
    """A line of lyrics; `start_s` is null if it is not known when it is sung."""

    text: str
    start_s: float | None


class SungLine(LyricsLine):
    """The line of a track's lyrics that was found, and how well it fits, 0 to 1."""

    fit: float


class Hit(Model):
    track: Track
    score: float
    probability: float | None
    weak: bool
    found_by: list[str]
    start_s: float | None
    windows: Windows | None
    lyrics: SungLine | None = None


class Reading(Model):
    wanted: dict[str, float]
    unwanted: dict[str, float]
    parts: dict[str, list[str]]


class Found(Model):
    hits: list[Hit]
    reading: Reading | None
    weak: bool
    next_offset: int | None
    seconds: float


class Tracks(Model):
    tracks: list[Track]
    next_offset: int | None = None


class Lyrics(Model):
    lines: list[LyricsLine]


class State(Model):
    state: str


class MapState(Model):
    state: Literal["ready", "computing", "none"]


class Colour(Model):
    values: list[Value | None]


class Map(Model):
    state: Literal["ready", "computing"]
    ids: list[str]
    x: list[float]
    y: list[float]
    colour: Colour | None = None


class Fits(Model):
    fits: list[float]


class Library(Model):
    name: str
    tracks: int
    missing: int
    failed: int
    duration_s: float
    model_name: str
    fingerprint: str
    window_s: float
    read_only: bool
    local: bool
    state: str
    fields: list[str]
    lyrics: bool
    map: MapState


class Suggestion(Model):
    text: str
    kind: str
    count: int


class Suggestions(Model):
    suggestions: list[Suggestion]


class Counted(Model):
    value: str | float
    count: int


class Bin(Model):
    from_: float = Field(alias="from")
    to: float
    count: int


class Range(Model):
    """The range and histogram of a numeric field."""

    from_: float = Field(alias="from")
    to: float
    bins: list[Bin]


class Facets(Model):
    facets: dict[str, list[Counted] | Range]


class Tag(Model):
    label: str
    score: float
    probability: float


class Tags(Model):
    tags: list[Tag]


class FailedFile(Model):
    file: str
    reason: str


class Failed(Model):
    failed: list[FailedFile]


class Forgotten(Model):
    removed: int
    back: int


class Pair(Model):
    first: Track
    second: Track
    similarity: float


class Duplicates(Model):
    pairs: list[Pair]


class Upload(Model):
    id: str
    name: str
    duration_s: float


class Job(Model):
    id: str
    kind: str
    paths: list[str]
    state: Literal["running", "done", "failed", "stopped"]
    done: int
    total: int
    message: str
    report: dict[str, JsonValue] | None
