"""Outputs for the vectors: a folder of Parquet files that all machines see, or a Milvus collection.

An output knows which tracks it holds, so a run skips them. Writing is idempotent: Ray may retry a group of tracks as
often as needed, and no track is stored twice.
"""

import os
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from ..encoders import EncoderSpec
from ..errors import LibraryError, QueryError
from ..index.records import FailedFile, Model, NewTrack, has_another_model
from ..index.store import check_milvus, is_milvus, open_milvus
from ..places import is_url

if TYPE_CHECKING:
    from ..index.milvus import MilvusStore

PART_TRACKS = 256
"""Tracks in one output file. A killed run loses at most this many tracks for each file that it was writing."""
_PARQUET = "parquet://"
_ABOUT = "about.parquet"  # a part without tracks; it holds the model and the texts for measuring a library
_WRITING = ".writing-"  # prefix of the folder in which a run writes incomplete files
_STOPPED = ".stopped-"


@dataclass
class Done:
    """The content of an output.

    Attributes:
        paths: paths of its tracks.
        failed: files that could not be used, by path.
    """

    paths: set[str] = field(default_factory=set)
    failed: dict[str, FailedFile] = field(default_factory=dict)


class Output(Protocol):
    """An output of a run; it is pickled and sent to the machines that write."""

    name: str

    def begin(self, probes: Mapping[str, NDArray[np.float32]]) -> None:
        """Prepare the output for this run; called once, by the process that starts the run.

        Args:
            probes: see `Catalogue.put_probes`.

        Raises:
            LibraryError: the output cannot be used.
            ModelMismatch: the output was made with another model.
        """

    def done(self) -> Done: ...

    def write(self, tracks: Sequence[NewTrack], *, failed: Sequence[FailedFile], group: Sequence[str]) -> None:
        """Store these tracks durably; a group that Ray makes again replaces its former tracks.

        Args:
            tracks: the tracks of the group.
            failed: files of the group that could not be used.
            group: the paths of all files in the group, also of files of which nothing is stored.

        Raises:
            LibraryError: the output cannot be written.
        """

    def end(self) -> None: ...


def check_address(to: str) -> None:
    """Check the form of an output's address, without opening it.

    Raises:
        QueryError: the address is neither "parquet://FOLDER" nor that of a library in Milvus.
        LibraryError: it is not a whole Milvus address, only one process can write to it, or pymilvus is missing.
    """
    if to.startswith(_PARQUET) and (folder := to.removeprefix(_PARQUET)):
        if is_url(folder):
            raise QueryError(
                f"--to is {to!r}, but the Parquet files are written into a folder, not into a store: name a folder "
                "that all machines share, and copy it into the store afterwards"
            )
    elif to.startswith("milvus:///"):
        raise LibraryError(
            f"{to} is a Milvus Lite file, which only one process can open: name a Milvus server, or parquet://FOLDER"
        )
    elif is_milvus(to):
        check_milvus(to)
    else:
        raise QueryError(f"--to is {to!r}, expected parquet://FOLDER or milvus://host:19530/collection")


def open_output(to: str, *, spec: EncoderSpec) -> Output:
    """Make the output for an address.

    Args:
        to: "parquet://FOLDER" or "milvus://host:19530/collection".
        spec: the spec of the model.

    Raises:
        QueryError: see `check_address`.
        LibraryError: see `check_address`, or a package is missing.
    """
    check_address(to)
    if is_milvus(to):
        return Collection(to, spec=spec)
    try:
        import pyarrow  # noqa: F401 - fail now, and not on another machine in an hour
    except ImportError as exc:
        raise LibraryError(f"{to} needs pyarrow ({exc}): pip install 'musicsearch[ray]'") from exc
    return PartsFolder(Path(to.removeprefix(_PARQUET)).expanduser().absolute(), spec=spec)


class PartsFolder:
    """A folder of Parquet files that all machines see; each is a part of a library (see `index.parquet`).

    A part is written in a folder of its run and moved to its final name when it is complete. The name is a hash of the
    paths in the group, so a group that is written again replaces itself. A new run first removes the folders of other
    runs, and then reads which tracks are there. So a worker that outlives a killed run cannot add anything.
    """

    def __init__(self, folder: Path, *, spec: EncoderSpec) -> None:
        self.name = str(folder)
        self._folder = folder
        self._spec = spec
        self._writing = folder / f"{_WRITING}{secrets.token_hex(8)}"

    def begin(self, probes: Mapping[str, NDArray[np.float32]]) -> None:
        with self._translated():
            self._folder.mkdir(parents=True, exist_ok=True)
            self._refuse_others()
            for former in self._folder.glob(f"{_WRITING}*"):
                former.rename(self._folder / f"{_STOPPED}{secrets.token_hex(8)}")
            for stopped in self._folder.glob(f"{_STOPPED}*"):
                shutil.rmtree(stopped, ignore_errors=True)
            self._writing.mkdir()
        if not (self._folder / _ABOUT).exists():
            self._put(_ABOUT, [], failed=[], probes=probes)

    def _refuse_others(self) -> None:
        from ..index.parquet import read_part

        found = sorted(path.name for path in self._folder.iterdir() if not path.name.startswith("."))
        if found and _ABOUT not in found:
            raise LibraryError(
                f"{self.name} holds other files, such as {found[0]}: name a new folder, or one that this command wrote"
            )
        if found:
            model = read_part(self._folder / _ABOUT).model
            self._check_model(model, of=self.name, advice="name the model of the folder, or another folder")

    def _check_model(self, model: Model, *, of: str, advice: str) -> None:
        if model.fingerprint != self._spec.fingerprint:
            encoder = f"the encoder is {self._spec.model_name} ({self._spec.fingerprint})"
            raise has_another_model(of, model, but=encoder, advice=advice)

    def done(self) -> Done:
        from ..index.maintenance import parts_of
        from ..index.parquet import read_part

        done = Done()
        with self._translated():
            for path in parts_of(self._folder):
                try:
                    part = read_part(path)
                except LibraryError as exc:
                    raise LibraryError(
                        f"{exc}; or remove that file, and run this command again for its tracks"
                    ) from exc
                # Otherwise its tracks would count as done, and the parts would not make a library.
                self._check_model(
                    part.model, of=str(path), advice="remove that file, and run this command again for its tracks"
                )
                for twice in done.paths.intersection(part.paths):
                    raise LibraryError(
                        f"{self.name} holds {twice} twice, the second time in {path.name}: remove that file, and run "
                        "this command again for its other tracks"
                    )
                done.paths.update(part.paths)
                done.failed.update((file.path, file) for file in part.failed)
        return done

    def write(self, tracks: Sequence[NewTrack], *, failed: Sequence[FailedFile], group: Sequence[str]) -> None:
        digest = sha256("\0".join(sorted(group)).encode()).hexdigest()
        self._put(f"part-{digest[:32]}.parquet", tracks, failed=failed)

    def _put(
        self,
        name: str,
        tracks: Sequence[NewTrack],
        *,
        failed: Sequence[FailedFile],
        probes: Mapping[str, NDArray[np.float32]] | None = None,
    ) -> None:
        from ..index.parquet import write_part

        part = self._writing / f"{name}.{secrets.token_hex(8)}"
        with self._translated():
            try:
                write_part(part, tracks, spec=self._spec, failed=failed, probes=probes or {})
                with part.open("rb+") as file:
                    os.fsync(file.fileno())
                part.replace(self._folder / name)
            except FileNotFoundError as exc:
                if self._writing.is_dir():
                    raise
                raise LibraryError(
                    f"another run now writes to {self.name}, or the machines do not share this folder: start one run "
                    "at a time, and name a folder that all machines share"
                ) from exc
            finally:
                with suppress(OSError):
                    part.unlink(missing_ok=True)

    def end(self) -> None:
        shutil.rmtree(self._writing, ignore_errors=True)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except OSError as exc:
            raise LibraryError(
                f"cannot use {self.name}: {exc.strerror}; check the disk, its free space and permissions"
            ) from exc


class Collection:
    """A library in Milvus; track ids are hashes of the paths, so a track that is put again replaces itself."""

    def __init__(self, uri: str, *, spec: EncoderSpec) -> None:
        self.name = uri
        self._model = Model(spec.model_name, spec.fingerprint, spec.embedding_dim)

    def begin(self, probes: Mapping[str, NDArray[np.float32]]) -> None:
        with self._opened(create=self._model) as store:
            if not len(store.probes()):
                store.put_probes(probes)

    def done(self) -> Done:
        with self._opened() as store:
            return Done(set(store.paths()), {file.path: file for file in store.failed()})

    def write(self, tracks: Sequence[NewTrack], *, failed: Sequence[FailedFile], group: Sequence[str]) -> None:
        with self._opened() as store:
            store.put(tracks)
            store.note_failed(failed)

    @contextmanager
    def _opened(self, *, create: Model | None = None) -> Iterator["MilvusStore"]:
        """The open library; it may have gone over to another model at any time."""
        with closing(open_milvus(self.name, create=create)) as store:
            if store.model.fingerprint != self._model.fingerprint:
                raise has_another_model(
                    self.name,
                    store.model,
                    but=f"the encoder is {self._model.name} ({self._model.fingerprint})",
                    advice="name the model of the collection, or another collection",
                )
            yield store

    def end(self) -> None:
        with self._opened() as store:
            store.seal()
