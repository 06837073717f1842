"""`MusicSearch`: a library of tracks that can be searched by words and by sounds."""

import os
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from .embedding import embed_file
from .encoders import Encoder, EncoderSpec, open_encoder
from .errors import ModelMismatch, QueryError
from .index.catalogue import Catalogue
from .index.live import LiveIndex
from .ingest import AddReport, Ingest, find_audio
from .progress import show_progress
from .zero_shot import DEFAULT_TEMPLATES, Tag, check_text, check_texts, rank_labels


@dataclass(frozen=True)
class Hit:
    """One search result.

    Attributes:
        track_id: stays the same when the file changes or moves.
        path: where the file was when it was last added.
        score: cosine between the query and the track, -1...1.
        start_s: where in the track the window begins that fits the query best.
        metadata: title, artist, album, genre and date, as far as the file names them.
    """

    track_id: str
    path: str
    score: float
    start_s: float
    metadata: dict[str, Any]


@dataclass(frozen=True)
class LibraryInfo:
    """What a library holds.

    Attributes:
        tracks: how many.
        duration_s: their length together.
        model_name, fingerprint, embedding_dim: of the model that made its vectors.
    """

    path: str
    tracks: int
    duration_s: float
    model_name: str
    fingerprint: str
    embedding_dim: int


class MusicSearch:
    """A library on disk, and the model that searches it. Safe to share between threads.

    Args:
        library: its folder; made if absent.
        encoder: a model repository folder, "grpc://host:port" of a Triton server ("grpc://a:8001,b:8001": of
            several; "grpcs://": over TLS, with the MUSICSEARCH_TOKEN, _CA_FILE, _CERT_FILE and _KEY_FILE of the
            environment), or an open `Encoder`, such as a `TritonEncoder` with settings of your own, which stays
            open; None is the model that comes with MusicSearch.
        device: for a folder: "auto", "cpu", "cuda" or "tensorrt".

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
    ) -> None:
        self._owns_encoder = encoder is None or isinstance(encoder, str | Path)
        if encoder is None or isinstance(encoder, str | Path):
            encoder = open_encoder(encoder, device=device)
        self._encoder: Encoder = encoder
        self._lock = threading.RLock()
        try:
            self._catalogue = _open_catalogue(Path(library).expanduser(), spec=self._encoder.spec)
        except BaseException:
            if self._owns_encoder:
                self._encoder.close()
            raise
        self._index = LiveIndex(self._catalogue)

    @property
    def device(self) -> str:
        """Where the model runs: "cpu", "cuda", "tensorrt" or the server's address."""
        return self._encoder.device

    def add(self, paths: str | Path | Iterable[str | Path], *, progress: bool = True) -> AddReport:
        """Add files, and the audio files in folders and below; what is already here unchanged is skipped.

        Interrupted by Ctrl-C or a failing server, it keeps the tracks that were finished; call it again to
        go on.

        Args:
            paths: files of any name, and folders, which are searched for the known extensions.
            progress: show a bar (on a terminal) or plain lines (elsewhere) on stderr.

        Returns:
            What was done; files that cannot be used are in its `failed`, with the reason.

        Raises:
            QueryError: `paths` is no path and no sequence of paths.
            LibraryBusy: another process is writing to this library.
            EncoderError: the model or its server failed; ServerBusy: the server was full for ten minutes.
        """
        if not isinstance(paths, str | Path | Iterable):
            raise QueryError(f"paths is {paths!r}, expected a path or several paths")
        files, failed = find_audio([paths] if isinstance(paths, str | Path) else paths)
        with self._catalogue.writing():
            ingest = Ingest(self._catalogue, self._encoder, lock=self._lock)
            ingest.report.failed.extend(failed)
            with show_progress("adding", total=len(files), enabled=progress) as advance:
                ingest.run(files, advance=advance)
            with self._lock:
                self._index.save()
        return ingest.report

    def search(self, query: str, *, k: int = 10) -> list[Hit]:
        """The k tracks that fit a description best, best first.

        Raises:
            QueryError: the query is empty, or k < 1.
        """
        _check_k(k)
        check_text(query, what="the query")
        return self._nearest(self.embed_text([query])[0], k=k)

    def search_audio(self, source: str | Path, *, k: int = 10) -> list[Hit]:
        """The k tracks that sound most like a file, or like a track of this library, best first.

        Args:
            source: an audio file (in the library or not), or a track id. A track of the library is its
                own best hit.

        Raises:
            AudioError: the file cannot be used.
            QueryError: k < 1.
        """
        _check_k(k)
        return self._nearest(self._vector_of(source), k=k)

    def zero_shot(
        self,
        source: str | Path,
        labels: Sequence[str],
        *,
        templates: Sequence[str] = DEFAULT_TEMPLATES,
    ) -> list[Tag]:
        """Labels for a file or a track id, the best first; see `zero_shot.rank_labels`."""
        return rank_labels(self._vector_of(source), labels, encoder=self._encoder, templates=templates)

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
        vectors = [embed_file(self._encoder, Path(path).expanduser()).vector for path in paths]
        return np.array(vectors, np.float32).reshape(-1, self._encoder.spec.embedding_dim)

    def remove(self, track_ids: str | Iterable[str]) -> None:
        """Forget these tracks, all or none; their files are left alone.

        Raises:
            LibraryError: one of them is not in the library; nothing is removed.
            LibraryBusy: another process is writing to this library.
        """
        ids = [track_ids] if isinstance(track_ids, str) else list(track_ids)
        with self._catalogue.writing(), self._lock:
            self._catalogue.remove(ids)

    def info(self) -> LibraryInfo:
        """What the library holds."""
        with self._lock:
            return library_info(self._catalogue)

    def close(self) -> None:
        """Give back the model and the files; calling it twice is fine."""
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

    def _vector_of(self, source: str | Path) -> NDArray[np.float32]:
        """The track vector of a file or track id, from the library where that is up to date."""
        path = os.path.abspath(os.path.expanduser(source))
        with self._lock:
            if os.path.exists(path):
                track = self._catalogue.by_path(path)
                track = track if track and track.file.looks_like(os.stat(path)) else None
            else:
                track = self._catalogue.by_id(str(source))
            if track is not None:
                return self._catalogue.vector(track.label)
        return embed_file(self._encoder, path).vector

    def _nearest(self, query: NDArray[np.float32], *, k: int) -> list[Hit]:
        hits = []
        with self._lock:
            labels, scores = self._index.search(query, k=k)
            for label, score in zip(labels.tolist(), scores.tolist(), strict=True):
                track = self._catalogue.by_label(label)
                if track is None:
                    continue  # another process removed it a moment ago
                starts_s, windows = self._catalogue.windows(label)
                start_s = float(starts_s[np.argmax(windows @ query)])
                hits.append(Hit(track.track_id, track.file.path, score, start_s, track.metadata))
        return hits


def _open_catalogue(folder: Path, *, spec: EncoderSpec) -> Catalogue:
    catalogue = Catalogue(
        folder,
        create={
            "model_name": spec.model_name,
            "fingerprint": spec.fingerprint,
            "embedding_dim": str(spec.embedding_dim),
        },
    )
    made_by = catalogue.properties
    if made_by["fingerprint"] != spec.fingerprint:
        catalogue.close()
        raise ModelMismatch(
            f"{folder} was made with the model {made_by['model_name']} ({made_by['fingerprint']}), but the "
            f"encoder is {spec.model_name} ({spec.fingerprint}): open it with the former, or add the "
            "music to a new library"
        )
    return catalogue


def library_info(catalogue: Catalogue) -> LibraryInfo:
    """What a catalogue holds; needs no model."""
    tracks, duration_s = catalogue.totals()
    properties = catalogue.properties
    return LibraryInfo(
        path=str(catalogue.folder),
        tracks=tracks,
        duration_s=duration_s,
        model_name=properties["model_name"],
        fingerprint=properties["fingerprint"],
        embedding_dim=catalogue.dim,
    )


def _check_k(k: int) -> None:
    if not isinstance(k, int | np.integer) or k < 1:
        raise QueryError(f"k is {k!r}, expected a whole number of at least 1")
