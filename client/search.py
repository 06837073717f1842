"""`MusicSearch`: a library of tracks that can be searched by words and by sounds."""

import math
import os
import secrets
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self, get_args

import numpy as np
from numpy.typing import NDArray

from .audio import look_at
from .background import WEAK_BELOW, Background, make_probes
from .duplicates import Duplicate, find_duplicates
from .embedding import Heard, embed_file
from .encoders import Encoder, EncoderSpec, open_encoder
from .errors import LibraryError, ModelMismatch, QueryError
from .fusion import Names
from .index import browse
from .index.browse import Facet, Glance, Suggestion
from .index.catalogue import Catalogue
from .index.fields import Value
from .index.records import Model, Track
from .index.store import Index, Store, open_index, open_store
from .ingest import AddReport, Ingest
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
from .results import Hit, LibraryInfo, LibraryMap, Part, RemovedMissing, TrackInfo
from .walk import FailedTrack, Found, find_audio
from .wish import Wish, WishMaker, nearest
from .zero_shot import DEFAULT_TEMPLATES, Labels, Tag, TaggedTrack

_ROWS = 2_048  # vectors that are read while others wait
_MOST_TYPED = 8  # texts of a query that may be names


class _Asked(NamedTuple):
    """A search as numbers; `typed` are its texts as they were given."""

    wish: Wish
    reading: Reading | None = None
    is_text: bool = False
    typed: tuple[str, ...] = ()


class MusicSearch:
    """A library, and the model that searches it. Safe to share between threads.

    Args:
        library: its folder, or "milvus://host:19530/collection" of a Milvus server, or "milvus:///folder/file.db" of a
            Milvus Lite file (see `index.milvus`); made if absent.
        encoder: a model repository folder, "grpc://host:port" of a Triton server ("grpc://a:8001,b:8001": of
            several; "grpcs://": over TLS, with the MUSICSEARCH_TOKEN, _CA_FILE, _CERT_FILE and _KEY_FILE of the
            environment), or an open `Encoder`, such as a `TritonEncoder` with settings of your own, which stays
            open; None is the model that comes with MusicSearch.
        device: for a folder: "auto", "cpu", "cuda" or "tensorrt".
        recall: how many of the best tracks a search finds on average, as a share; 1 compares with every track,
            which Milvus does not.

    Raises:
        LibraryError: the folder cannot be used as a library.
        ModelMismatch: the library was made with another model.
        EncoderError: the model cannot be opened; ServerUnavailable, ServerMismatch: nor the server.
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

    @property
    def spec(self) -> EncoderSpec:
        """What the model takes and gives."""
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
        on_progress: Callable[[int, int], None] | None = None,
    ) -> AddReport:
        """Add files, and the audio files in folders and below; what is already here unchanged is skipped.

        Interrupted by Ctrl-C or a failing server, it keeps the tracks that were finished; call it again to
        go on.

        Args:
            paths: files of any name, and folders, which are searched for the extensions of audio and video; or those
                of a store, by their URLs: "s3://bucket/folder" (see `remote`).
            progress: show a bar (on a terminal) or plain lines (elsewhere) on stderr.
            retry: try files again that failed before, even if they look the same.
            windows: embed only so many windows of each track, evenly spread, which takes less time and finds less;
                None is all. What is already here unchanged stays as it was made.
            video: add the sound of moving pictures in folders too, and not only of those that are named themselves. An
                .mp4 or .webm without pictures, or with a cover only, is audio.
            on_progress: called in this thread with how many files are done, and of how many: (0, 0) for each folder
                that is looked through, then at the start and after each file; those of a store are counted as they are
                listed. An error that it raises ends the work
                as Ctrl-C does.

        Returns:
            What was done; files that cannot be used are in its `failed`, with the reason, and what else lies in the
            folders is counted in `passed_over`.

        Raises:
            QueryError: `paths` is no path and no sequence of paths, `windows` < 1, or `progress`, `retry` or `video` is
                neither True nor False.
            LibraryBusy: another process, or another thread's `add`, is writing to this library.
            EncoderError: the model or its server failed; ServerBusy: the server was full for ten minutes.
            StoreError: there is no way to such a store, or it gives nothing any more.
        """
        if not isinstance(paths, str | Path | Iterable):
            raise QueryError(f"paths is {paths!r}, expected a path or several paths")
        for name, value in {"progress": progress, "retry": retry, "video": video}.items():
            check_switch(value, name=name)
        if windows is not None:
            check_count(windows, name="windows", least=1)
        found = find_audio(
            [paths] if isinstance(paths, str | Path) else paths,
            video=video,
            on_folder=partial(on_progress, 0, 0) if on_progress else lambda: None,
        )
        with ExitStack() as stack:
            with self._lock:  # other threads' short writes are waited for
                stack.enter_context(self._writing())
                if not self._catalogue.is_current():
                    raise ModelMismatch(
                        f"{self._catalogue.name} has gone over to another model than {self._catalogue.model.name}: "
                        "open it again with that model"
                    )
                ingest = Ingest(self._catalogue, self._encoder, lock=self._lock, retry=retry, windows=windows)
                # First, as an add may be stopped.
                if (found.files or found.listings) and not len(self._catalogue.probes()):
                    self._catalogue.put_probes(make_probes(self._encoder))
            total = len(found.files) if not found.listings else None
            with show_progress("adding", total=total, enabled=progress) as show:
                ingest.run(found, advance=_telling(on_progress, show=show, found=found))
            with self._lock:
                self._index.save()
        return ingest.report

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """For long; other threads may annotate meanwhile."""
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
    ) -> list[Hit]:
        """The k tracks that fit a description best, and those that are called so, best first.

        What a text negates ("jazz without drums", "no vocals", "not sad", "instrumental") is taken out of it and counts
        as `minus`: `hit.reading` and `read_query` tell how a query was read. A query may be negative alone.

        Args:
            query: a text, or several together; a dict gives each its weight (else 1).
            like: sounds that the tracks shall be like, beside the texts or alone; weights as above.
            minus: what there shall not be; a dict gives each its weight (else 1). The more of it there is in a track,
                compared with the library's others, the further back it falls.
            unlike: sounds that the tracks shall not be like; likewise.
            offset: how many of the best to leave out, for paging.
            where: only tracks with such metadata: {"genre": "jazz"}, whatever its case, and however Unicode writes its
                accents; {"key": ["Am", "C"]}, one of them; {"bpm": (80, 120), "year": (1990, None)}, between, both
                included.
            per_artist: at most so many tracks of one artist; a track of several counts for each of them.
            starts: find out where in each track it fits best; costs a read from the disk for each hit.
            literal: read no negation out of the texts.
            names: whether the texts may be titles, artists or albums, typed with a mistake too; a hit's `found_by`
                tells. "only" finds nothing else, and in Milvus names are found only as they are written.
            windows: tell the score of each window of each hit, and not only where the best begins.

        Raises:
            QueryError: an empty query, k < 1, an unknown field, or another argument out of its range.
            AudioError: a file of `like` or `unlike` cannot be used.
        """
        if names not in get_args(Names):
            raise QueryError(f"names is {names!r}, expected one of {', '.join(get_args(Names))}")
        asked = self._ask(query, like=like, unlike=unlike, minus=minus, literal=literal)
        if names == "never":
            asked = asked._replace(typed=())
        scope = Scope(k, offset, where, per_artist)
        return self._hits(asked, scope, starts=starts, windows=windows, names_only=names == "only")

    def search_audio(
        self, source: Source, *, k: int = 10, where: Mapping[str, Any] | None = None, starts: bool = True
    ) -> list[Hit]:
        """The k tracks that sound most like a file, a part of one, or a track of this library, best first.

        Args:
            source: an audio file (in the library or not), a `Clip` of one, or a track id. A track of the library is
                its own best hit.
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
        """The k tracks nearest to a vector of this library's model, best first.

        Args:
            vector: [dim], of any length but 0.
            offset: see `search`; so are the others.
            where: only tracks with such metadata.
            per_artist: at most so many of one artist.
            starts: tell where in each track it fits best.

        Raises:
            QueryError: it has another shape, holds NaN or is 0; k < 1, or an unknown field.
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
        """How well each part of a track fits what `search` would look for.

        Raises:
            LibraryError: the track is not in the library, or has no vectors; QueryError, AudioError: see `search`.
        """
        asked = self._ask(query, like=like, unlike=unlike, minus=minus, literal=literal)
        with self._lock, self._catalogue.reading():
            windows = self._catalogue.windows(self._label_of(self._catalogue.named(track_id)))
            return list(_parts(*windows, asked.wish, background=self._ranking.background() if asked.is_text else None))

    def path(self, first: str | Path, last: str | Path, *, steps: int = 8) -> list[Hit]:
        """Tracks that lead from one to another by small steps, both included; fewer where the library holds fewer.

        Args:
            first: the id or path of a track in the library.
            last: that of another.
            steps: how many tracks, at least 2.

        Returns:
            Hits whose scores are cosines with the points between the two, evenly spaced.

        Raises:
            LibraryError: a track is not in the library; QueryError: steps < 2, or both are the same.
        """
        check_count(steps, name="steps", least=2)
        with self._lock, self._catalogue.reading():
            ends = [self._catalogue.named(name) for name in (first, last)]
            labels = [self._label_of(end) for end in ends]
            if labels[0] == labels[1]:
                raise QueryError(f"a path from {str(first)!r} to itself: name two tracks")
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
        """Tracks for listening on and on, each near those before, never one twice nor an artist twice in a row.

        Args:
            start: sounds to begin with, such as a track; a dict gives each its weight.
            drift: how far it may go from there: at 0 it stays near the start, at 1 it goes from track to track.
            seed: of the chance by which it chooses among near tracks; the same finds the same.
            played: ids of tracks that shall not come again.
            where: see `search`.

        Raises:
            QueryError: no start, or an argument out of its range; AudioError: a file cannot be used.
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
        """Labels for a file or a track id, the best first; see `zero_shot.Labels`.

        Args:
            labels: at least one, all different.
            templates: sentences with one {} each.
            thresholds: from which score on a label fits, such as `fit_labels` finds; then several may fit, or none.

        Raises:
            QueryError: no labels, one that is empty or given twice, or a template without {}.
            AudioError: the file cannot be used.
        """
        ranked = Labels(labels, encoder=self._encoder, templates=templates)
        return ranked.rank(self._vector_of(source), thresholds=thresholds)

    def fit_labels(
        self, examples: Mapping[str, Sequence[Source]], *, templates: Sequence[str] = DEFAULT_TEMPLATES
    ) -> dict[str, float]:
        """Thresholds for labels from a few examples of each: files, or ids of tracks; see `Labels.fit_thresholds`."""
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
        """As `zero_shot`, for every track, in the order in which they were added (in Milvus: in that of their ids)."""
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
        """Of a track that is named by its id or its path.

        Raises:
            LibraryError: it is not in the library.
        """
        if not isinstance(name, str | Path):
            raise QueryError(f"got {name!r} for a track, expected its id or its path")
        with self._lock:
            return self._catalogue.named(name).track_id

    def track(self, name: str | Path) -> TrackInfo:
        """A track that is named by its id or its path.

        Raises:
            LibraryError: it is not in the library.
        """
        with self._lock:
            return track_info(self._catalogue.named(self.track_id(name)))

    def tracks_by_id(self, track_ids: Sequence[str]) -> dict[str, TrackInfo]:
        """Those of these tracks that are in the library, by their ids.

        Raises:
            QueryError: an id is no text.
        """
        check_texts(track_ids, what="track_ids")
        with self._lock:
            return {track.track_id: track_info(track) for track in self._catalogue.by_ids(track_ids)}

    def tracks(self, *, k: int = 100, offset: int = 0, where: Mapping[str, Any] | None = None) -> list[TrackInfo]:
        """The library's tracks, those first that were added last.

        Args:
            k: how many; offset: how many to leave out before; where: see `search`.

        Raises:
            QueryError: k < 1, offset < 0, an unknown field, or the library is one in Milvus.
        """
        check_count(k, name="k", least=1)
        check_count(offset, name="offset", least=0)
        with self._lock:
            found = browse.newest(self._in_folder("lists"), k=k, offset=offset, where=where)
            return [track_info(track) for track in found]

    def facets(self, fields: Sequence[str] | None = None, *, most: int = 50, containing: str = "") -> dict[str, Facet]:
        """What the fields of metadata hold, and how often.

        Args:
            fields: their names; None is all that some track has.
            most: so many of a field's texts, the most frequent.
            containing: only texts with this in them, whatever the case.

        Raises:
            QueryError: no track has one of them, most < 1, `containing` is no text, or the library is one in Milvus.
        """
        check_count(most, name="most", least=1)
        if not isinstance(containing, str):
            raise QueryError(f"containing is {containing!r}, expected a text")
        if fields is not None:
            check_texts(fields, what="fields")
        with self._lock:
            return browse.facets(self._in_folder("facets"), fields=fields, most=most, containing=containing)

    def suggest(self, beginning: str, *, k: int = 8) -> list[Suggestion]:
        """How a text that is being typed may go on: artists, titles, albums and genres of the library.

        Raises:
            QueryError: k < 1, no text, or the library is one in Milvus.
        """
        check_count(k, name="k", least=1)
        if not isinstance(beginning, str) or beginning.strip():
            check_text(beginning, what="beginning")
        with self._lock:
            return browse.suggest(self._in_folder("suggestions"), beginning, k=k)

    def map(self, *, by: str | None = None, fits: str | None = None) -> LibraryMap:
        """All tracks as points of a plane; drawn at the first call, which takes minutes for 100,000, and then kept.

        Args:
            by: a field of metadata, whose value is told of each track; None where it has none, the first of several.
            fits: a text, of which is told how well each track fits it.

        Raises:
            QueryError: both are given, no track has the field, the text is empty, or the library is one in Milvus.
        """
        if by is not None and fits is not None:
            raise QueryError("got by and fits, expected one of them: points have one colour")
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
        """Let a `map` that another thread waits for end with a `LibraryError`."""
        if self._map is not None:
            self._map.stop()

    def missing(self) -> list[TrackInfo]:
        """The tracks whose files were not there when their folders were last added."""
        with self._lock:
            return [track_info(track) for track in self._catalogue.missing()]

    def remove_missing(self) -> RemovedMissing:
        """Forget the tracks whose files have vanished, with their annotations, unless the files are there by now.

        Raises:
            LibraryBusy: another process, or another thread's `add`, is writing to this library.
        """
        with self._lock, self._catalogue.writing():
            return remove_missing(self._catalogue)

    def embed_text(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Texts to float32 [len(texts), dim], unit L2 norm.

        Raises:
            QueryError: one of them is empty, or not a string.
        """
        check_texts(texts, what="texts")
        return self._encoder.embed_texts(texts)

    def embed_audio(self, paths: Sequence[str | Path]) -> NDArray[np.float32]:
        """Files to their track vectors, float32 [len(paths), dim], unit L2 norm.

        Raises:
            AudioError: one of them cannot be used.
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
        """Forget these tracks, all or none; their files are left alone.

        Raises:
            LibraryError: one of them is not in the library; nothing is removed.
            LibraryBusy: another process, or another thread's `add`, is writing to this library.
        """
        ids = [track_ids] if isinstance(track_ids, str) or not isinstance(track_ids, Iterable) else list(track_ids)
        for track_id in ids:
            if not isinstance(track_id, str):
                raise QueryError(f"got the track id {track_id!r}, expected a text, as searches show them")
        with self._lock, self._catalogue.writing():
            self._catalogue.remove(ids)

    def annotate(self, annotations: Mapping[str, Mapping[str, Value | None]]) -> None:
        """Note what is known about tracks, beside what their files say, for hits and for `where`; all or none.

        Args:
            annotations: by track id: names and values, which are texts, finite numbers, bools or lists of texts; they
                go before a file's tag of the same name, and None takes one back.

        Raises:
            LibraryError: a track is not in the library; QueryError: a value of another type.
            LibraryBusy: another process, or another MusicSearch, is writing to this library; this one's `add` may run.
        """
        with self._lock, nullcontext() if self._is_adding else self._catalogue.writing():
            self._catalogue.annotate(annotations)

    def failed(self) -> list[FailedTrack]:
        """The files that could not be used when they were last added, with the reasons."""
        with self._lock:
            return [FailedTrack(file.path, file.reason) for file in self._catalogue.failed()]

    def duplicates(self, *, least: float = 0.98) -> list[Duplicate]:
        """Pairs of tracks that are nearly the same recording; see `duplicates.find_duplicates`.

        Args:
            least: the lowest similarity, up to 1.

        Raises:
            QueryError: `least` is out of its range.
        """
        return list(find_duplicates(self._catalogue, self._index, least=least, lock=self._lock))

    def glance(self) -> Glance:
        """What the library holds, in little time; `info` looks at every row.

        Raises:
            QueryError: the library is one in Milvus.
        """
        with self._lock:
            return browse.glance(self._in_folder("counts"))

    def state(self) -> str:
        """Differs from what it was if anything in the library was changed since, by whomever, and after each opening.

        Raises:
            QueryError: the library is one in Milvus.
        """
        with self._lock:
            return "-".join(map(str, (self._opening, *self._in_folder("changes").state())))

    def info(self) -> LibraryInfo:
        """What the library holds."""
        with self._lock:
            return library_info(self._catalogue, self._index)

    def close(self) -> None:
        """Give back the model and the files; calling it twice is fine."""
        self.stop_drawing()
        if self._owns_encoder:
            self._encoder.close()
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
        """What the arguments of `search` look for."""
        reading = read_query(query, minus=minus, literal=literal)
        sounds, others = (
            [
                (self._vector_of(sound), weight)
                for sound, weight in weighted(given, weight=1.0, name=name, single=(str, Path, Clip)).items()
            ]
            for name, given in (("like", like), ("unlike", unlike))
        )
        if not (reading.wanted or reading.unwanted or sounds or others):
            raise QueryError("the query is empty: say what the tracks shall be like")
        wish, parts = self._wishes.make(reading.wanted, unwanted=reading.unwanted, sounds=sounds, unlike=others)
        return _Asked(
            wish,
            replace(reading, parts=parts) if reading.wanted or reading.unwanted else None,
            is_text=not sounds and not others,
            typed=tuple(weighted(query, weight=1.0, name="query", single=(str,)))[:_MOST_TYPED],
        )

    def _fits_of(self, labels: Sequence[int], wish: Wish) -> list[float]:
        """How well these tracks fit, 0 to 1; 0 of those that have gone meanwhile."""
        scores: dict[int, float] = {}
        parts = self._catalogue.vectors(rows_at_once=_ROWS)
        while True:
            with self._lock:  # searches go on between the parts
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
            raise QueryError(f"{what} of a library in Milvus are not known; of one in a folder they are")
        return self._catalogue

    def _vector_of(self, source: Source) -> NDArray[np.float32]:
        """The track vector of a file, a part of one or a track id, from the library where that is up to date."""
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
        """The vector of a part of a track whose file is not there: of the windows that lie in it for the most part."""
        with self._lock, self._catalogue.reading():
            track = self._catalogue.by_path(path)
            if track is None or track.label is None:
                return None
            starts_s, windows = self._catalogue.windows(track.label)
        middles_s = starts_s + self.spec.window_s / 2
        within = windows[(middles_s >= part.start_s) & (middles_s <= (math.inf if part.end_s is None else part.end_s))]
        return unit(within.mean(axis=0), dim=windows.shape[1]) if len(within) else None

    def _track_of(self, source: str | Path) -> Track | None:
        """The library's, of a track id, or of a file that is as it was when it was added."""
        if (track := self._catalogue.by_id(str(source))) is not None:
            return track
        path = absolute(source)
        track = self._catalogue.by_path(path)
        if track is None or not is_there(path):
            return track
        return track if track.file.looks_like(look_at(path) if is_url(path) else os.stat(path)) else None

    def _hits(
        self, asked: _Asked, scope: Scope, *, starts: bool = True, windows: bool = False, names_only: bool = False
    ) -> list[Hit]:
        scope.check()
        wish = asked.wish
        with self._lock, self._catalogue.reading():
            found, best_score = self._ranking.find(wish, scope, typed=asked.typed, names_only=names_only)
            background = self._ranking.background() if asked.is_text else None
            read = self._catalogue.windows_of([ranked.label for ranked in found]) if starts or windows else {}
        # Where nothing is wanted, there is nothing to find.
        is_weak = background is not None and not wish.usual and background.probability(best_score) < WEAK_BELOW
        return [
            replace(
                _hit(ranked.track, ranked.score),
                start_s=_best_start_s(*read[ranked.label], wish) if starts and ranked.label in read else None,
                probability=wish.fits(ranked.score, background=background) if background else None,
                weak=is_weak and "name" not in ranked.found_by,
                reading=asked.reading,
                found_by=ranked.found_by,
                windows=_parts(*read[ranked.label], wish, background=background)
                if windows and ranked.label in read
                else None,
            )
            for ranked in found
        ]


def _telling(
    on_progress: Callable[[int, int], None] | None, *, show: Callable[[float], None], found: Found
) -> Callable[[float], None]:
    """What counts the files that are done, and tells it where that is wanted."""
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
        raise ModelMismatch(
            f"{store.name} was made with the model {made_by.name} ({made_by.fingerprint}), but the "
            f"encoder is {spec.model_name} ({spec.fingerprint}): open it with the former, or add the "
            "music to a new library"
        )
    return store


def track_info(track: Track) -> TrackInfo:
    """What is told of a track of a catalogue."""
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
    """What a catalogue holds; needs no model, and does not open the index."""
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
    """Forget the tracks whose files have vanished, with their annotations, unless the files are there by now.

    The caller holds the catalogue's `writing()`; needs no model.

    Raises:
        StoreError: a store does not tell whether one is there; nothing is removed.
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
