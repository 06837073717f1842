"""`MusicSearch`: a library of tracks that you search by words and by sounds."""

import math
import os
import secrets
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self, get_args

import numpy as np
from numpy.typing import NDArray

from .audio import look_at
from .background import WEAK_BELOW, Background, make_probes
from .decoders import Decoder, Workers
from .duplicates import Duplicate, find_duplicates
from .embedding import Heard, embed_file
from .encoders import Encoder, EncoderSpec, open_encoder
from .errors import AudioError, LibraryError, QueryError
from .fusion import Names
from .index import browse
from .index.browse import Facet, Glance, Suggestion
from .index.catalogue import Catalogue
from .index.fields import Value
from .index.records import Model, Track, has_another_model, has_gone_over
from .index.store import Index, Store, open_index, open_store
from .ingest import AddReport, Ingest, TrackWarning, Unanswered
from .map import MapKeeper
from .paths import CHOICE, between, draw, drifted
from .places import absolute, is_there, is_url
from .progress import show_progress
from .query import (
    Clip,
    Reading,
    Source,
    check_count,
    check_source,
    check_switch,
    check_text,
    check_texts,
    read_query,
    unit,
    weighted,
)
from .ranking import Ranking, Scope, artists_of
from .results import Hit, LibraryInfo, LibraryMap, Part, RemovedMissing, SungLine, TrackInfo
from .walk import FailedTrack, Found, find_audio, printable
from .wish import Wish, WishMaker, nearest
from .zero_shot import DEFAULT_TEMPLATES, Labels, Tag, TaggedTrack

if TYPE_CHECKING:
    from .lyrics.book import Book
    from .lyrics.listening import Listener
    from .lyrics.transcript import Transcript

_ROWS = 2_048  # vectors that are read at a time, while other threads wait for the lock
_MOST_TYPED = 8  # texts of a query that are also looked up as names
# With a description, a line counts that fits nearly as well as the best one. Else a few shared letters gain a rank.
_NEARLY = 0.8


class _Asked(NamedTuple):
    """A search as numbers. `typed` holds its texts as they were given."""

    wish: Wish
    reading: Reading | None = None
    is_text: bool = False
    typed: tuple[str, ...] = ()


class MusicSearch:
    """A library, and the model that searches it. Several threads can share one.

    Args:
        library: the folder of the library. It is made if it does not exist. For Milvus, give
            "milvus://host:19530/collection" (a server) or "milvus:///folder/file.db" (a Milvus Lite file). See
            `index.milvus`.
        encoder: a model repository folder, the address of a Triton server, or an open `Encoder`. None uses the model
            that comes with MusicSearch. An address is "grpc://host:port", or "grpc://a:8001,b:8001" for several
            servers. "grpcs://" uses TLS, with MUSICSEARCH_TOKEN, MUSICSEARCH_CA_FILE, MUSICSEARCH_CERT_FILE and
            MUSICSEARCH_KEY_FILE from the environment. An open `Encoder`, such as a `TritonEncoder` with your own
            settings, is not closed by `close`.
        device: "auto", "cpu", "cuda" or "tensorrt". Only used with a model repository folder.
        recall: the average share of the best tracks that a search must find, above 0 and up to 1. With 1 a search
            compares the query with every track. Milvus does not do this.

    Raises:
        LibraryError: the folder cannot be used as a library.
        ModelMismatch: the library was made with another model.
        EncoderError: the model cannot be opened.
        ServerUnavailable: the server does not answer.
        ServerMismatch: the server does not have the models that this client needs.
    """

    def __init__(
        self,
        library: str | Path,
        *,
        encoder: str | Path | Encoder | None = None,
        device: str = "auto",
        recall: float = 0.99,
    ) -> None:
        if not isinstance(recall, int | float | np.number) or not 0 < recall <= 1:
            raise QueryError(f"recall is {recall!r}, expected a number above 0 and up to 1")
        if not isinstance(library, str | Path) or not str(library) or "\0" in str(library):
            raise QueryError(f"got {library!r} for the library, expected a folder")
        self._owns_encoder = encoder is None or isinstance(encoder, str | Path)
        self._source = encoder if isinstance(encoder, str | Path) else None
        self._device = device
        self._listeners: dict[tuple[Any, ...], Listener] = {}  # of transcribe, by its arguments
        self._opening_listener = threading.Lock()  # a hub may send a model for minutes, while others search
        if encoder is None or isinstance(encoder, str | Path):
            encoder = open_encoder(encoder, device=device)
        if not hasattr(encoder, "spec"):
            raise QueryError(f"got {encoder!r} for the encoder, expected a folder, an address or an open Encoder")
        self._encoder: Encoder = encoder
        self._lock = threading.RLock()
        self._is_adding = False
        try:
            self._catalogue = _open_library(library, spec=self._encoder.spec)
            self._index = open_index(self._catalogue, recall=recall)
            self._wishes = WishMaker(self._catalogue, self._encoder, lock=self._lock)
        except BaseException:
            if self._owns_encoder:
                self._encoder.close()
            raise
        self._ranking = Ranking(self._catalogue, self._index)
        self._map = MapKeeper(self._catalogue, lock=self._lock) if isinstance(self._catalogue, Catalogue) else None
        self._opening = secrets.token_hex(4)
        self._heard = Heard(self._encoder)
        self._workers = Workers()

    @property
    def spec(self) -> EncoderSpec:
        """The model's input and output: sample rate, window length, embedding size and more."""
        return self._encoder.spec

    @property
    def device(self) -> str:
        """Where the model runs: "cpu", "cuda", "tensorrt" or the server's address."""
        return self._encoder.device

    def add(
        self,
        paths: str | Path | Iterable[str | Path],
        *,
        progress: bool = True,
        retry: bool = False,
        windows: int | None = None,
        video: bool = False,
        lyrics: bool = False,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> AddReport:
        """Add audio files and the audio files in folders and their subfolders. Unchanged tracks are skipped.

        If Ctrl-C or a failing server stops the call, the finished tracks are kept. Call it again to continue.

        Args:
            paths: files with any name, and folders. A folder is searched for files with an audio or video extension.
                Files and folders of a store are given by their URLs: "s3://bucket/folder" (see `remote`).
            progress: show progress on stderr, as a bar on a terminal and as plain lines elsewhere.
            retry: try files again that failed before, even if they look the same.
            windows: embed only this many windows of each track, evenly spaced. This is faster but finds less. None
                embeds all windows. Tracks that are in the library and unchanged keep their vectors.
            video: also add the sound of video files that are in folders. Without it, a video file is only added if
                `paths` names it. An .mp4 or .webm file without video, or with only a cover image, counts as audio.
            lyrics: then also read the lyrics of these tracks from their tags and from .lrc files beside them, for
                `search`. What was read from unchanged files is kept. A later call without it leaves the lyrics as they
                are, and those of a changed track are not found until they are read again.
            on_progress: called in this thread with the number of finished files and the number of all files. It gets
                (0, 0) for each folder that is searched. Then it is called at the start and after each file. Files of a
                store are counted as they are listed. An error that it raises ends the work as Ctrl-C does.

        Returns:
            A report of the work. Files that cannot be used are in `failed`, with the reason. Other files in the folders
                are counted in `passed_over`.

        Raises:
            QueryError: `paths` is neither a path nor a sequence of paths, `windows` < 1, or `progress`, `retry`,
                `video` or `lyrics` is not a bool, or `lyrics` is set and the library is in Milvus.
            LibraryBusy: another process, or another thread's `add`, is writing to this library.
            EncoderError: the model or its server failed.
            ServerBusy: the server's queue was full for ten minutes.
            StoreError: the store's kind is not supported, or the store stopped answering.
        """
        if not isinstance(paths, str | Path | Iterable):
            raise QueryError(f"paths is {paths!r}, expected a path or several paths")
        for name, value in {"progress": progress, "retry": retry, "video": video, "lyrics": lyrics}.items():
            check_switch(value, name=name)
        if windows is not None:
            check_count(windows, name="windows", least=1)
        found = find_audio(
            [paths] if isinstance(paths, str | Path) else paths,
            video=video,
            on_folder=partial(on_progress, 0, 0) if on_progress else lambda: None,
        )
        with ExitStack() as stack:
            with self._lock:  # waits for short writes of other threads
                stack.enter_context(self._writing())
                if not self._catalogue.is_current():
                    raise has_gone_over(self._catalogue.name, self._catalogue.model)
                book = stack.enter_context(closing(self._open_book(create=True))) if lyrics else None
                ingest = Ingest(
                    self._catalogue,
                    self._encoder,
                    workers=self._workers,
                    lock=self._lock,
                    retry=retry,
                    windows=windows,
                )
                # The probes are stored before the tracks because the add may be stopped before its end.
                if (found.files or found.listings) and not len(self._catalogue.probes()):
                    self._catalogue.put_probes(make_probes(self._encoder))
            total = len(found.files) if not found.listings else None
            with show_progress("adding", total=total, enabled=progress) as show:
                ingest.run(found, advance=_telling(on_progress, show=show, found=found))
            with self._lock:
                self._index.save()
            if book is not None:
                self._take_lyrics(book, found, report=ingest.report, progress=progress)
        return ingest.report

    def _take_lyrics(self, book: "Book", found: Found, *, report: AddReport, progress: bool) -> None:
        """Read the lyrics of the tracks that were found, and drop those of tracks that are no longer here."""
        from .lyrics.care import drop_removed
        from .lyrics.taking import Taking

        catalogue = self._in_folder("lyrics")
        with self._lock:
            listed = [path for listing in found.listings for _, path in catalogue.below(listing.url)]
        paths = [*found.files, *listed]
        spec = self.spec
        decoder = Decoder(
            self._workers, sample_rate_hz=spec.sample_rate_hz, window_samples=spec.window_samples, windows=None
        )
        unanswered = Unanswered(then="What was read is kept: add again to continue")

        def note(error: AudioError | None) -> None:
            if error is not None and error.is_stores:
                report.warnings.append(TrackWarning(printable(error.path), f"no lyrics were read: {error.reason}"))
            unanswered.note(error)

        with closing(decoder), show_progress("reading lyrics", total=len(paths), enabled=progress) as advance:
            taking = Taking(catalogue, book, lock=self._lock, read=decoder.call, note=note)
            report.lyrics = taking.run(paths, advance=advance)
        with self._lock:
            drop_removed(catalogue, book)

    def _open_book(self, *, create: bool = False) -> "Book":
        """Open the library's lyrics. What reads and compares them is only imported where they are asked for."""
        from .lyrics.book import Book

        return Book(self._in_folder("lyrics").folder, create=create)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Hold the catalogue's write lock for a long time. Other threads can annotate meanwhile."""
        with ExitStack() as stack:
            stack.enter_context(self._catalogue.writing())
            self._is_adding = True
            try:
                yield
            finally:
                with self._lock:
                    self._is_adding = False
                    stack.close()

    def search(
        self,
        query: str | Sequence[str] | Mapping[str, float] = (),
        *,
        like: Source | Sequence[Source] | Mapping[Source, float] = (),
        unlike: Source | Sequence[Source] | Mapping[Source, float] = (),
        minus: str | Sequence[str] | Mapping[str, float] = (),
        k: int = 10,
        offset: int = 0,
        where: Mapping[str, Any] | None = None,
        per_artist: int | None = None,
        starts: bool = True,
        literal: bool = False,
        names: Names = "also",
        windows: bool = False,
        lyrics: str = "",
    ) -> list[Hit]:
        """Find the k tracks that best fit a description, have a matching name or have remembered words, best first.

        A negation in a text ("jazz without drums", "no vocals", "not sad", "instrumental") is removed from the text and
        works like `minus`. `hit.reading` and `read_query` show how a query was read. A query may consist of negations
        alone.

        Args:
            query: one text or several. Give a dict to set the weight of each (default 1).
            like: sounds that the tracks should resemble, with or without texts. Give a dict to set the weight of each
                (default 1).
            unlike: sounds that the tracks should not resemble. Give a dict to set the weight of each (default 1).
            minus: texts for what the tracks should not have. Give a dict to set the weight of each (default 1). The
                more of it a track has, compared with the rest of the library, the lower it ranks.
            k: the most hits to return.
            offset: skip this many of the best tracks, for paging.
            where: only find tracks with this metadata. {"genre": "jazz"} ignores case and how Unicode encodes accents.
                {"key": ["Am", "C"]} matches any of the values. {"bpm": (80, 120), "year": (1990, None)} matches a range
                that includes both ends.
            per_artist: at most this many tracks of one artist. A track with several artists counts for each of them.
            starts: find the start of the best window in each track. This costs one disk read for each hit.
            literal: do not look for negations in the texts.
            names: also look for the texts in titles, artists and albums, even with a typing mistake. `found_by` of a
                hit tells how it was found. "only" searches names alone, and "never" does not search them. In Milvus,
                names are only found as they are written.
            windows: return the score of each window of each hit, not only the start of the best one.
            lyrics: words of the song, as they are remembered, alone or with a description. Wrong words and letters are
                forgiven. `lyrics` of a hit has its line. Needs lyrics that `add` or `put_lyrics` stored.

        Raises:
            LibraryError: `lyrics` is given, and the library has none, or their file is damaged.
            QueryError: an empty query, k < 1, an unknown field, or another argument out of its range.
            AudioError: a file of `like` or `unlike` cannot be used.
        """
        if names not in get_args(Names):
            raise QueryError(f"names is {names!r}, expected one of {', '.join(get_args(Names))}")
        scope = Scope(k, offset, where, per_artist)
        if lyrics and not (query or like or unlike or minus):
            return self._hits_by_lyrics(lyrics, scope)
        asked = self._ask(query, like=like, unlike=unlike, minus=minus, literal=literal)
        if names == "never":
            asked = asked._replace(typed=())
        return self._hits(asked, scope, starts=starts, windows=windows, names_only=names == "only", lyrics=lyrics)

    def search_audio(
        self, source: Source, *, k: int = 10, where: Mapping[str, Any] | None = None, starts: bool = True
    ) -> list[Hit]:
        """Find the k tracks that sound most like a file, a part of a file or a track of this library, best first.

        Args:
            source: an audio file (in the library or not), a `Clip` of one, or a track id. A track of the library is
                its own best hit.
            k: the most hits to return.
            where: see `search`.
            starts: see `search`.

        Raises:
            AudioError: the file cannot be used.
            QueryError: k < 1, or an unknown field.
        """
        return self.search(like=[source], k=k, where=where, starts=starts)

    def search_vector(
        self,
        vector: NDArray[np.float32],
        *,
        k: int = 10,
        offset: int = 0,
        where: Mapping[str, Any] | None = None,
        per_artist: int | None = None,
        starts: bool = True,
    ) -> list[Hit]:
        """Find the k tracks whose vectors have the highest cosine similarity with a vector of this library's model.

        Args:
            vector: [dim], of any length but 0.
            k: see `search`.
            offset: see `search`.
            where: see `search`.
            per_artist: see `search`.
            starts: see `search`.

        Raises:
            QueryError: the vector has another shape, contains NaN or is 0, k < 1, or an unknown field.
        """
        wish = Wish(unit(vector, dim=self._encoder.spec.embedding_dim))
        return self._hits(_Asked(wish), Scope(k, offset, where, per_artist), starts=starts)

    def along(
        self,
        track_id: str,
        query: str | Sequence[str] | Mapping[str, float] = (),
        *,
        like: Source | Sequence[Source] | Mapping[Source, float] = (),
        unlike: Source | Sequence[Source] | Mapping[Source, float] = (),
        minus: str | Sequence[str] | Mapping[str, float] = (),
        literal: bool = False,
    ) -> list[Part]:
        """Score each window of a track against the same query that `search` takes.

        Raises:
            LibraryError: the track is not in the library, or has no vectors.
            QueryError: see `search`.
            AudioError: see `search`.
        """
        asked = self._ask(query, like=like, unlike=unlike, minus=minus, literal=literal)
        with self._lock, self._catalogue.reading():
            windows = self._catalogue.windows(self._label_of(self._catalogue.named(track_id)))
            return list(_parts(*windows, asked.wish, background=self._ranking.background() if asked.is_text else None))

    def path(self, first: str | Path, last: str | Path, *, steps: int = 8) -> list[Hit]:
        """Find tracks that lead from one track to another in small steps. Both tracks are included.

        Args:
            first: the id or path of a track in the library.
            last: the id or path of another track in the library.
            steps: how many tracks, at least 2. You get fewer if the library has fewer.

        Returns:
            Hits. Their scores are cosine similarities with evenly spaced points between the two tracks.

        Raises:
            LibraryError: a track is not in the library.
            QueryError: steps < 2, or both tracks are the same.
        """
        check_count(steps, name="steps", least=2)
        with self._lock, self._catalogue.reading():
            ends = [self._catalogue.named(name) for name in (first, last)]
            labels = [self._label_of(end) for end in ends]
            if labels[0] == labels[1]:
                raise QueryError(f"got {str(first)!r} for both ends of the path: name two different tracks")
            points = between(*(self._catalogue.vector(label) for label in labels), steps=steps)
        found = {ends[0].track_id: _hit(ends[0], 1.0)}
        for point in points[1:-1]:
            hits = self.search_vector(point, k=steps + 1, starts=False)
            free = [hit for hit in hits if hit.track_id not in found and hit.track_id != ends[1].track_id]
            found |= {hit.track_id: hit for hit in free[:1]}
        return [*found.values(), _hit(ends[1], 1.0)]

    def radio(
        self,
        start: Source | Sequence[Source] | Mapping[Source, float],
        *,
        k: int = 20,
        drift: float = 0.3,
        seed: int = 0,
        played: Sequence[str] = (),
        where: Mapping[str, Any] | None = None,
    ) -> list[Hit]:
        """Find tracks for endless listening: each track is near the ones before it, and none repeats.

        Two tracks in a row have different artists, unless all near tracks are by the same artist.

        Args:
            start: one or several sounds to start from, such as a track. Give a dict to set the weight of each.
            k: how many tracks.
            drift: how far the radio may move away from the start. At 0 it stays near the start, at 1 it moves from
                track to track.
            seed: seed of the random choice among near tracks. The same seed gives the same tracks.
            played: ids of tracks that must not be played again.
            where: see `search`.

        Raises:
            QueryError: no start, or an argument out of its range.
            AudioError: a file cannot be used.
        """
        check_count(k, name="k", least=1)
        check_count(seed, name="seed", least=0)
        check_texts(played, what="played")
        if isinstance(drift, bool) or not isinstance(drift, int | float | np.number) or not 0 <= drift <= 1:
            raise QueryError(f"drift is {drift!r}, expected a number from 0 to 1")
        home = here = self._ask((), like=start).wish.vector
        rng = np.random.default_rng(seed)
        sources = weighted(start, weight=1.0, name="start", single=(str, Path, Clip))
        with self._lock, self._catalogue.reading():
            own = [self._track_of(source) for source in sources if not isinstance(source, Clip)]
            done = {track.label for track in (*own, *self._catalogue.by_ids(played)) if track is not None}
        hits: list[Hit] = []
        while len(hits) < k:
            wish = Wish(drifted(home, here, drift=drift))
            with self._lock, self._catalogue.reading():
                found, scores = nearest(wish, index=self._index, k=len(done) + CHOICE, where=where)
                score_of = {
                    label: score
                    for label, score in zip(found.tolist(), scores.tolist(), strict=True)
                    if label not in done
                }
                near = list(score_of)[:CHOICE]
                tracks = {track.label: track for track in self._catalogue.by_labels(near)}
            near = [label for label in near if label in tracks]
            if not near:
                break
            order = [near[index] for index in draw([score_of[label] for label in near], rng=rng)]
            last = artists_of(hits[-1].metadata) if hits else set()
            label = next((label for label in order if not last & artists_of(tracks[label].metadata)), order[0])
            hits.append(_hit(tracks[label], score_of[label]))
            done.add(label)
            with self._lock:
                here = self._catalogue.vector(label)
        return hits

    def zero_shot(
        self,
        source: str | Path,
        labels: Sequence[str],
        *,
        templates: Sequence[str] = DEFAULT_TEMPLATES,
        thresholds: Mapping[str, float] | None = None,
    ) -> list[Tag]:
        """Rank labels for a file or a track id, the best first. See `zero_shot.Labels`.

        Args:
            source: a file or a track id.
            labels: at least one, all different.
            templates: sentences that each contain {} once.
            thresholds: the lowest score at which each label fits. `fit_labels` finds such scores. With thresholds,
                several labels may fit, or none.

        Raises:
            QueryError: no labels, a label that is empty or given twice, or a template without {}.
            AudioError: the file cannot be used.
        """
        ranked = Labels(labels, encoder=self._encoder, templates=templates)
        return ranked.rank(self._vector_of(source), thresholds=thresholds)

    def fit_labels(
        self, examples: Mapping[str, Sequence[Source]], *, templates: Sequence[str] = DEFAULT_TEMPLATES
    ) -> dict[str, float]:
        """Find a threshold for each label from a few examples: files or track ids. See `Labels.fit_thresholds`."""
        for sources in examples.values() if isinstance(examples, Mapping) else [None]:
            if isinstance(sources, str | Path | Clip) or not isinstance(sources, Iterable):
                raise QueryError(f"examples is {examples!r}, expected a dict of labels and lists of files or track ids")
        labels = Labels(list(examples), encoder=self._encoder, templates=templates)
        vectors = {
            label: np.array([self._vector_of(source) for source in sources], np.float32)
            for label, sources in examples.items()
        }
        return labels.fit_thresholds(vectors)

    def tag_library(
        self,
        labels: Sequence[str],
        *,
        templates: Sequence[str] = DEFAULT_TEMPLATES,
        thresholds: Mapping[str, float] | None = None,
    ) -> Iterator[TaggedTrack]:
        """Do `zero_shot` for every track, in the order in which they were added (in Milvus: ordered by id)."""
        ranked = Labels(labels, encoder=self._encoder, templates=templates)
        parts = self._catalogue.vectors(rows_at_once=512)
        while True:
            with self._lock:
                found, vectors = next(parts, (None, None))
                if found is None or vectors is None:
                    return
                tracks = {track.label: track for track in self._catalogue.by_labels(found.tolist())}
            for label, vector in zip(found.tolist(), vectors, strict=True):
                if (track := tracks.get(label)) is not None:
                    yield TaggedTrack(track.track_id, track.file.path, ranked.rank(vector, thresholds=thresholds))

    def track_id(self, name: str | Path) -> str:
        """Return the id of a track that is given by its id or its path.

        Raises:
            LibraryError: the track is not in the library.
        """
        if not isinstance(name, str | Path):
            raise QueryError(f"got {name!r} for a track, expected its id or its path")
        with self._lock:
            return self._catalogue.named(name).track_id

    def track(self, name: str | Path) -> TrackInfo:
        """Return a track that is given by its id or its path.

        Raises:
            LibraryError: the track is not in the library.
        """
        with self._lock:
            return track_info(self._catalogue.named(self.track_id(name)))

    def tracks_by_id(self, track_ids: Sequence[str]) -> dict[str, TrackInfo]:
        """Look up tracks by their ids. The result leaves out ids that are not in the library.

        Raises:
            QueryError: an id is not a text.
        """
        check_texts(track_ids, what="track_ids")
        with self._lock:
            return {track.track_id: track_info(track) for track in self._catalogue.by_ids(track_ids)}

    def tracks(self, *, k: int = 100, offset: int = 0, where: Mapping[str, Any] | None = None) -> list[TrackInfo]:
        """List the tracks of the library, the newest first.

        Args:
            k: the most tracks to return.
            offset: skip this many of the newest tracks.
            where: see `search`.

        Raises:
            QueryError: k < 1, offset < 0, an unknown field, or the library is in Milvus.
        """
        check_count(k, name="k", least=1)
        check_count(offset, name="offset", least=0)
        with self._lock:
            found = browse.newest(self._in_folder("lists"), k=k, offset=offset, where=where)
            return [track_info(track) for track in found]

    def facets(self, fields: Sequence[str] | None = None, *, most: int = 50, containing: str = "") -> dict[str, Facet]:
        """Count the values of metadata fields.

        Args:
            fields: the names of the fields. None takes every field that some track has.
            most: return at most this many texts of a field, the most frequent ones.
            containing: only texts that contain this text, ignoring case.

        Raises:
            QueryError: no track has one of the fields, most < 1, `containing` is not a text, or the library is in
                Milvus.
        """
        check_count(most, name="most", least=1)
        if not isinstance(containing, str):
            raise QueryError(f"containing is {containing!r}, expected a text")
        if fields is not None:
            check_texts(fields, what="fields")
        with self._lock:
            return browse.facets(self._in_folder("facets"), fields=fields, most=most, containing=containing)

    def suggest(self, beginning: str, *, k: int = 8) -> list[Suggestion]:
        """Complete a text that is being typed with artists, titles, albums and genres of the library.

        Raises:
            QueryError: k < 1, `beginning` is not a text, or the library is in Milvus.
        """
        check_count(k, name="k", least=1)
        if not isinstance(beginning, str) or beginning.strip():
            check_text(beginning, what="beginning")
        with self._lock:
            return browse.suggest(self._in_folder("suggestions"), beginning, k=k)

    def map(self, *, by: str | None = None, fits: str | None = None) -> LibraryMap:
        """Return all tracks as points of a plane. The first call computes the map, and later calls reuse it.

        The first call takes minutes for 100,000 tracks.

        Args:
            by: a metadata field. The map then has its value for each track: the first one if there are several, and
                None if there is none.
            fits: a text. The map then tells for each track how well it fits this text.

        Raises:
            QueryError: both are given, no track has the field, the text is empty, or the library is in Milvus.
        """
        if by is not None and fits is not None:
            raise QueryError("got both by and fits, expected only one: a point has one colour")
        catalogue = self._in_folder("maps")
        wish = None if fits is None else self._ask(fits).wish
        assert self._map is not None
        drawing = self._map.drawing()
        with self._lock, catalogue.reading():
            ids = browse.track_ids(catalogue)
            said = browse.values(catalogue, by) if by is not None else {}
        there = np.flatnonzero(np.isin(drawing.labels, list(ids)))
        labels = drawing.labels[there].tolist()
        values: list[Any] | None = [said.get(label) for label in labels] if by is not None else None
        if wish is not None:
            values = self._fits_of(labels, wish)
        return LibraryMap([ids[label] for label in labels], drawing.points[there], drawing.method, values)

    def stop_drawing(self) -> None:
        """Stop a `map` call of another thread. That call raises a `LibraryError`."""
        if self._map is not None:
            self._map.stop()

    def missing(self) -> list[TrackInfo]:
        """List the tracks whose files were not there when their folders were last added."""
        with self._lock:
            return [track_info(track) for track in self._catalogue.missing()]

    def remove_missing(self) -> RemovedMissing:
        """Remove the tracks whose files are gone, with their annotations. Tracks whose files are back stay.

        Raises:
            LibraryBusy: another process, or another thread's `add`, is writing to this library.
        """
        with self._lock, self._catalogue.writing():
            return remove_missing(self._catalogue)

    def embed_text(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed texts: float32 [len(texts), dim], unit L2 norm.

        Raises:
            QueryError: a text is empty, or not a string.
        """
        check_texts(texts, what="texts")
        return self._encoder.embed_texts(texts)

    def embed_audio(self, paths: Sequence[str | Path]) -> NDArray[np.float32]:
        """Embed files as track vectors: float32 [len(paths), dim], unit L2 norm.

        Raises:
            AudioError: a file cannot be used.
        """
        if isinstance(paths, str | Path):
            raise QueryError(f"paths is one path, expected a list of paths: [{str(paths)!r}]")
        files = list(paths) if isinstance(paths, Iterable) else [paths]
        if not all(isinstance(path, str | Path) for path in files):
            raise QueryError(f"paths is {paths!r}, expected a list of paths")
        places = [absolute(path) if is_url(path) else Path(path).expanduser() for path in files]
        vectors = [embed_file(self._encoder, place).vector for place in places]
        return np.array(vectors, np.float32).reshape(-1, self._encoder.spec.embedding_dim)

    def remove(self, track_ids: str | Iterable[str]) -> None:
        """Remove all of these tracks, or none if there is an error. Their files are not touched.

        Raises:
            LibraryError: a track is not in the library. No track is removed.
            LibraryBusy: another process, or another thread's `add`, is writing to this library.
        """
        ids = [track_ids] if isinstance(track_ids, str) or not isinstance(track_ids, Iterable) else list(track_ids)
        for track_id in ids:
            if not isinstance(track_id, str):
                raise QueryError(f"got the track id {track_id!r}, expected a text, as searches show them")
        with self._lock, self._catalogue.writing():
            self._catalogue.remove(ids)

    def annotate(self, annotations: Mapping[str, Mapping[str, Value | None]]) -> None:
        """Save facts about tracks next to the tags of their files. Hits show them, and `where` can use them.

        All annotations of a call are saved, or none if there is an error.

        Args:
            annotations: by track id, names and values. A value is a text, a finite number, a bool or a list of texts.
                It overrides the file's tag of the same name. None removes an annotation.

        Raises:
            LibraryError: a track is not in the library.
            QueryError: a value has another type.
            LibraryBusy: another process, or another MusicSearch, is writing to this library. An `add` of this one may
                run.
        """
        with self._lock, nullcontext() if self._is_adding else self._catalogue.writing():
            self._catalogue.annotate(annotations)

    def put_lyrics(self, lyrics: Mapping[str, Sequence[tuple[float | None, str]]]) -> list[str]:
        """Save lyrics of tracks whose files have none, such as those that a transcriber heard. `search` finds them.

        They stay with a track until its sound changes, or `add` with `lyrics` finds lyrics in its file. All lyrics of a
        call are saved, or none if there is an error.

        Args:
            lyrics: by track id, the lines as (seconds, text), with None where the time is not known. No lines remove
                what was given before.

        Returns:
            The ids of the tracks whose files have lyrics of their own, as far as `add` has read them. These stay.

        Raises:
            LibraryError: a track is not in the library, or the file of lyrics is damaged.
            QueryError: a line is not a pair of seconds and text, or the library is in Milvus.
            LibraryBusy: another process, or another MusicSearch, is writing to this library. An `add` of this one may
                run.
        """
        from .lyrics.taking import give

        catalogue = self._in_folder("lyrics")
        with ExitStack() as stack:
            stack.enter_context(self._lock)
            stack.enter_context(nullcontext() if self._is_adding else catalogue.writing())
            return give(catalogue, stack.enter_context(closing(self._open_book(create=True))), lyrics)

    def lyrics(self, name: str | Path) -> list[tuple[float | None, str]]:
        """Return the lyrics of a track that is given by its id or its path: its lines, as `put_lyrics` takes them.

        Returns:
            The lines. There are none if the file has none, or has changed since they were read.

        Raises:
            LibraryError: the track is not in the library, or the file of lyrics is damaged.
            QueryError: the library is in Milvus.
        """
        from .lyrics.book import has_lyrics

        catalogue = self._in_folder("lyrics")
        with self._lock, catalogue.reading():
            track = catalogue.named(self.track_id(name))
            if not has_lyrics(catalogue.folder):
                return []
            with closing(self._open_book()) as book:
                song = book.songs([track.track_id]).get(track.track_id)
        if song is None or not song.is_of(track.file):
            return []
        return [(line.start_s, line.text) for line in song.lines]

    def has_lyrics(self) -> bool:
        """Return whether the library has lyrics, which `search` needs. A library in Milvus never has.

        Raises:
            LibraryError: the file of lyrics is damaged.
        """
        from .lyrics.book import has_lyrics

        with self._lock:
            if not isinstance(self._catalogue, Catalogue) or not has_lyrics(self._catalogue.folder):
                return False
            with closing(self._open_book()) as book:
                return book.has_words()

    def transcribe(
        self,
        path: str | Path,
        *,
        voice: str | Path | None = None,
        model: str | Path | None = None,
        texts: Sequence[str | Path] = (),
        asr: str | Path | None = None,
    ) -> "Transcript":
        """Write down what is sung in a file, with the times of words and notes. The library does not change.

        On recorded songs, give a Whisper as `asr`: no transcriber of our own was trained on such songs yet.

        Args:
            path: an audio file, in the library or not.
            voice: a file with its separated voice, as long to 0.1 s. The transcriber hears it beside the mixture, and a
                Whisper in its place. Without it the transcriber gets the mixture twice.
            model: the model repository folder, or the address of a Triton server, that has the `lyrics_transcriber`.
                None takes the encoder's.
            texts: UTF-8 files from which a language model learns which words follow each other. The text is then
                searched with it. Without them, the most probable character of each frame is taken.
            asr: the folder or Hugging Face hub name of a Whisper, such as "openai/whisper-small", which is used
                instead. It needs PyTorch and transformers (the extra [asr]). It takes no `model` and no `texts`.

        Returns:
            Words and notes. `put_lyrics({track_id: transcript.lines})` lets `search` find them.

        Raises:
            AudioError: a file cannot be used, or the voice differs from it in length.
            QueryError: a text cannot be read, or `asr` is given together with `model` or `texts`.
            EncoderError: there is no such model, or it failed.
        """
        from .lyrics.listening import open_listener

        if not isinstance(path, str | Path):
            raise QueryError(f"path is {path!r}, expected the path of an audio file")
        if not isinstance(voice, str | Path | None):
            raise QueryError(f"voice is {voice!r}, expected the path of one audio file")
        if isinstance(texts, str | Path):
            raise QueryError(f"texts is one path, expected a list of paths: [{str(texts)!r}]")
        source = model
        if model is None and asr is None:
            source = self._source
            if not self._owns_encoder and not is_url(source := self._encoder.device):
                raise QueryError("the encoder is one of your own: name the transcriber's folder in model, or give asr")
        key = (source, tuple(texts), asr)
        with self._opening_listener:
            if key not in self._listeners:
                self._listeners[key] = open_listener(source, device=self._device, texts=texts, asr=asr)
            listener = self._listeners[key]
        return listener.transcribe(absolute(path), voice=None if voice is None else absolute(voice))

    def failed(self) -> list[FailedTrack]:
        """List the files that could not be used when they were last added, with the reasons."""
        with self._lock:
            return [FailedTrack(file.path, file.reason) for file in self._catalogue.failed()]

    def duplicates(self, *, least: float = 0.98) -> list[Duplicate]:
        """List pairs of tracks that are nearly the same recording. See `duplicates.find_duplicates`.

        Args:
            least: the lowest similarity, up to 1.

        Raises:
            QueryError: `least` is out of its range.
        """
        return list(find_duplicates(self._catalogue, self._index, least=least, lock=self._lock))

    def glance(self) -> Glance:
        """Return a quick summary of the library. `info` takes longer because it reads every row.

        Raises:
            QueryError: the library is in Milvus.
        """
        with self._lock:
            return browse.glance(self._in_folder("counts"))

    def state(self) -> str:
        """Return a text that changes with any change in the library, and each time the library is opened.

        It also changes when another process writes to the library.

        Raises:
            QueryError: the library is in Milvus.
        """
        from .lyrics.book import state_of_lyrics

        with self._lock:
            catalogue = self._in_folder("changes")
            return "-".join(map(str, (self._opening, *catalogue.state(), *state_of_lyrics(catalogue.folder))))

    def info(self) -> LibraryInfo:
        """Return a summary of the library."""
        with self._lock:
            return library_info(self._catalogue, self._index)

    def close(self) -> None:
        """Release the model and the files. You can call it twice."""
        self.stop_drawing()
        self._workers.close()
        if self._owns_encoder:
            self._encoder.close()
        with self._opening_listener:
            while self._listeners:
                self._listeners.popitem()[1].close()
        with self._lock:
            self._catalogue.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _ask(
        self,
        query: str | Sequence[str] | Mapping[str, float] = (),
        *,
        like: Source | Sequence[Source] | Mapping[Source, float] = (),
        unlike: Source | Sequence[Source] | Mapping[Source, float] = (),
        minus: str | Sequence[str] | Mapping[str, float] = (),
        literal: bool = False,
    ) -> _Asked:
        """Turn the arguments of `search` into numbers."""
        reading = read_query(query, minus=minus, literal=literal)
        sounds, others = (
            [
                (self._vector_of(sound), weight)
                for sound, weight in weighted(given, weight=1.0, name=name, single=(str, Path, Clip)).items()
            ]
            for name, given in (("like", like), ("unlike", unlike))
        )
        if not (reading.wanted or reading.unwanted or sounds or others):
            raise QueryError("the query is empty: say how the tracks should sound")
        wish, parts = self._wishes.make(reading.wanted, unwanted=reading.unwanted, sounds=sounds, unlike=others)
        return _Asked(
            wish,
            replace(reading, parts=parts) if reading.wanted or reading.unwanted else None,
            is_text=not sounds and not others,
            typed=tuple(weighted(query, weight=1.0, name="query", single=(str,)))[:_MOST_TYPED],
        )

    def _fits_of(self, labels: Sequence[int], wish: Wish) -> list[float]:
        """How well these tracks fit, 0 to 1. A track that was removed meanwhile gets 0."""
        scores: dict[int, float] = {}
        parts = self._catalogue.vectors(rows_at_once=_ROWS)
        while True:
            with self._lock:  # searches run between the parts
                found, vectors = next(parts, (None, None))
                background = self._ranking.background()
            if found is None or vectors is None:
                break
            scores |= dict(zip(found.tolist(), wish.score(vectors).tolist(), strict=True))
        if background is None:
            return [min(max(scores.get(label, 0.0), 0.0), 1.0) for label in labels]
        return [wish.fits(scores.get(label, -1.0), background=background) for label in labels]

    def _label_of(self, track: Track) -> int:
        if track.label is None:
            raise LibraryError(f"{track.file.path} has no vectors of this model yet: add it again")
        return track.label

    def _in_folder(self, what: str) -> Catalogue:
        if not isinstance(self._catalogue, Catalogue):
            raise QueryError(
                f"{what} are known only for a library in a folder, not for a library in Milvus: export it to a Parquet "
                "file, and import that into a folder"
            )
        return self._catalogue

    def _vector_of(self, source: Source) -> NDArray[np.float32]:
        """The track vector of a file, a part of a file or a track id. If possible, it comes from the library."""
        check_source(source)
        if not isinstance(source, Clip):
            with self._lock:
                track = self._track_of(source)
                if track is not None and track.label is not None:
                    return self._catalogue.vector(track.label)
            source = Clip(source)
        path = absolute(source.path)
        if not is_there(path) and (part := self._part_of(path, source)) is not None:
            return part
        return self._heard.vector(path, start_s=source.start_s, end_s=source.end_s)

    def _part_of(self, path: str, part: Clip) -> NDArray[np.float32] | None:
        """The vector of a part of a track whose file is gone: the mean of the windows whose middle is in the part."""
        with self._lock, self._catalogue.reading():
            track = self._catalogue.by_path(path)
            if track is None or track.label is None:
                return None
            starts_s, windows = self._catalogue.windows(track.label)
        middles_s = starts_s + self.spec.window_s / 2
        within = windows[(middles_s >= part.start_s) & (middles_s <= (math.inf if part.end_s is None else part.end_s))]
        return unit(within.mean(axis=0), dim=windows.shape[1]) if len(within) else None

    def _track_of(self, source: str | Path) -> Track | None:
        """The library's track for a track id, or for a file that has not changed since it was added."""
        if (track := self._catalogue.by_id(str(source))) is not None:
            return track
        path = absolute(source)
        track = self._catalogue.by_path(path)
        if track is None or not is_there(path):
            return track
        return track if track.file.looks_like(look_at(path) if is_url(path) else os.stat(path)) else None

    def _sung(self, words: str, *, where: Mapping[str, Any] | None) -> dict[int, tuple[Track, SungLine]]:
        """By label, the tracks whose lyrics have these words, the best first. The caller holds the lock."""
        from .lyrics.finding import find_sung

        check_text(words, what="lyrics")
        return {
            label: (track, SungLine(match.line.text, match.line.start_s, match.fit))
            for label, (track, match) in find_sung(self._in_folder("lyrics"), words, where=where).items()
        }

    def _hits_by_lyrics(self, words: str, scope: Scope) -> list[Hit]:
        scope.check()
        with self._lock, self._catalogue.reading():
            sung = self._sung(words, where=scope.where)
        of_artist: Counter[str] = Counter()
        hits = []
        for track, line in sung.values():
            artists = artists_of(track.metadata)
            if scope.per_artist is None or all(of_artist[artist] < scope.per_artist for artist in artists):
                of_artist.update(artists)
                hit = _hit(track, line.fit)
                hits.append(replace(hit, start_s=line.start_s, found_by=("lyrics",), lyrics=line))
        return hits[scope.offset : scope.offset + scope.k]

    def _hits(
        self,
        asked: _Asked,
        scope: Scope,
        *,
        starts: bool = True,
        windows: bool = False,
        names_only: bool = False,
        lyrics: str = "",
    ) -> list[Hit]:
        scope.check()
        wish = asked.wish
        with self._lock, self._catalogue.reading():
            lines = (
                {label: line for label, (_, line) in self._sung(lyrics, where=scope.where).items()} if lyrics else {}
            )
            best_fit = max((line.fit for line in lines.values()), default=0.0)
            sung = {label: line for label, line in lines.items() if line.fit >= _NEARLY * best_fit}
            found, best_score = self._ranking.find(
                wish,
                scope,
                typed=asked.typed,
                names_only=names_only,
                sung={label: line.fit for label, line in sung.items()},
            )
            background = self._ranking.background() if asked.is_text else None
            read = self._catalogue.windows_of([ranked.label for ranked in found]) if starts or windows else {}

        def start_s(label: int) -> float | None:
            if label in sung and sung[label].start_s is not None:
                return sung[label].start_s
            return _best_start_s(*read[label], wish) if starts and label in read else None

        # A query that only excludes sounds looks for nothing, so its hits are never weak.
        is_weak = background is not None and not wish.usual and background.probability(best_score) < WEAK_BELOW
        return [
            replace(
                _hit(ranked.track, ranked.score),
                start_s=start_s(ranked.label),
                probability=wish.fits(ranked.score, background=background) if background else None,
                weak=is_weak and ranked.found_by == ("sound",),
                reading=asked.reading,
                found_by=ranked.found_by,
                windows=_parts(*read[ranked.label], wish, background=background)
                if windows and ranked.label in read
                else None,
                lyrics=sung.get(ranked.label),
            )
            for ranked in found
        ]


def _telling(
    on_progress: Callable[[int, int], None] | None, *, show: Callable[[float], None], found: Found
) -> Callable[[float], None]:
    """Return a function that counts finished files and reports them to `on_progress`, if there is one."""
    if on_progress is None:
        return show
    done = count(1)
    on_progress(0, len(found.files))

    def advance(audio_s: float) -> None:
        show(audio_s)
        on_progress(next(done), len(found.files) + sum(listing.listed for listing in found.listings))

    return advance


def _open_library(library: str | Path, *, spec: EncoderSpec) -> Store:
    store = open_store(library, create=Model(spec.model_name, spec.fingerprint, spec.embedding_dim))
    made_by = store.model
    if made_by.fingerprint != spec.fingerprint:
        store.close()
        raise has_another_model(
            store.name,
            made_by,
            but=f"the encoder is {spec.model_name} ({spec.fingerprint})",
            advice="open the library with its own model, or add the music to a new library",
        )
    return store


def track_info(track: Track) -> TrackInfo:
    """The public information on a track of a catalogue."""
    return TrackInfo(
        track.track_id,
        track.file.path,
        track.duration_s,
        track.tags,
        track.annotations,
        is_missing=track.is_missing,
        warning=track.warning,
    )


def library_info(catalogue: Store, index: Index) -> LibraryInfo:
    """A summary of a catalogue. It needs no model and does not open the index."""
    tracks, duration_s = catalogue.totals()
    return LibraryInfo(
        path=catalogue.name,
        tracks=tracks,
        missing=len(catalogue.missing()),
        failed=len(catalogue.failed()),
        duration_s=duration_s,
        model_name=catalogue.model.name,
        fingerprint=catalogue.model.fingerprint,
        embedding_dim=catalogue.model.dim,
        warnings={track.file.path: track.warning for track in catalogue.warned()},
        recall=index.recall(),
    )


def remove_missing(catalogue: Store) -> RemovedMissing:
    """Remove the tracks whose files are gone, with their annotations. Tracks whose files are back stay.

    The caller holds the catalogue's `writing()`. No model is needed.

    Raises:
        StoreError: a store does not tell whether a file is there. No track is removed.
    """
    back: list[Track] = []
    gone: list[Track] = []
    for track in catalogue.missing():
        (back if is_there(track.file.path) else gone).append(track)
    catalogue.touch({track.track_id: track.file for track in back})
    catalogue.remove(track.track_id for track in gone)
    return RemovedMissing([track.track_id for track in gone], [track.file.path for track in back])


def _best_start_s(starts_s: NDArray[np.float32], windows: NDArray[np.float32], wish: Wish) -> float:
    return float(starts_s[np.argmax(wish.score(windows))])


def _hit(track: Track, score: float) -> Hit:
    return Hit(
        track.track_id, track.file.path, score, None, track.metadata, is_missing=track.is_missing, warning=track.warning
    )


def _parts(
    starts_s: NDArray[np.float32], windows: NDArray[np.float32], wish: Wish, *, background: Background | None
) -> tuple[Part, ...]:
    return tuple(
        Part(start_s, score, wish.fits(score, background=background) if background else None)
        for start_s, score in zip(starts_s.tolist(), wish.score(windows).tolist(), strict=True)
    )
