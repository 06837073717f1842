"""Where the vectors go: a folder of Parquet files that all machines see, or a collection of Milvus.

An output says which tracks it holds, so that a run leaves them out, and takes a group of tracks as often as Ray retries
it, without holding one of them twice.
"""

import os
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..encoders import EncoderSpec
from ..errors import LibraryError, ModelMismatch, QueryError
from ..index.records import FailedFile, Model, NewTrack
from ..index.store import is_milvus, open_milvus

_PARQUET = "parquet://"
_ABOUT = "about.parquet"  # a part without tracks: the model, and the texts that a library is measured with
_WRITING = ".writing-"  # and the name of a run: its files on their way
_STOPPED = ".stopped-"


@dataclass
class Done:
    """What an output holds.

    Attributes:
        paths: of its tracks.
        failed: by their paths, files that could not be used.
    """

    paths: set[str] = field(default_factory=set)
    failed: dict[str, FailedFile] = field(default_factory=dict)


class Output(Protocol):
    """Travels to the machines that write."""

    name: str

    def begin(self, probes: Mapping[str, NDArray[np.float32]]) -> None:
        """Make it ready for this run; called once, by the one who starts it.

        Args:
            probes: see `Catalogue.put_probes`.

        Raises:
            LibraryError: it cannot be used; ModelMismatch: it was made with another model.
        """

    def done(self) -> Done: ...

    def write(self, tracks: Sequence[NewTrack], *, failed: Sequence[FailedFile], group: Sequence[str]) -> None:
        """Keep these tracks, durably, in the place of what this group was before, if Ray lets it be made again.

        Args:
            group: the paths of its tracks, and of files of which nothing is kept.

        Raises:
            LibraryError: it cannot be written.
        """

    def end(self) -> None: ...


def open_output(to: str, *, spec: EncoderSpec) -> Output:
    """The output at an address.

    Raises:
        QueryError: it is none; LibraryError: a package is missing, or one process alone can write there.
    """
    if to.startswith(_PARQUET) and (folder := to.removeprefix(_PARQUET)):
        try:
            import pyarrow  # noqa: F401 - here, and not on another machine in an hour
        except ImportError as exc:
            raise LibraryError(f"{to} needs pyarrow ({exc}): pip install 'musicsearch[ray]'") from exc
        return PartsFolder(Path(folder).expanduser().absolute(), spec=spec)
    if is_milvus(to):
        if to.startswith("milvus:///"):
            raise LibraryError(
                f"{to} is a file that one process has open at a time: name a Milvus server, or parquet://FOLDER"
            )
        return Collection(to, spec=spec)
    raise QueryError(f"--to is {to!r}, expected parquet://FOLDER or milvus://host:19530/collection")


class PartsFolder:
    """A folder of Parquet files, each with some tracks of a library (see `index.parquet`), that all machines see.

    A part gets its name when it is complete, and that name follows from the files that it is of: a group that is
    written again replaces itself. Until then it is in a folder of the run's. A run that begins takes those folders of
    others away, before it looks what is there: a worker of a killed run, that has not noticed yet, adds nothing more.
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
                f"{self.name} holds something else ({found[0]}): name a new folder, or one that this command wrote"
            )
        if found:
            model = read_part(self._folder / _ABOUT).model
            if model.fingerprint != self._spec.fingerprint:
                raise ModelMismatch(
                    f"{self.name} was made with the model {model.name} ({model.fingerprint}), but the encoder is "
                    f"{self._spec.model_name} ({self._spec.fingerprint}): name that model, or another folder"
                )

    def done(self) -> Done:
        from ..index.maintenance import parts_of
        from ..index.parquet import read_part

        done = Done()
        with self._translated():
            for path in parts_of(self._folder):
                try:
                    part = read_part(path)
                except LibraryError as exc:
                    raise LibraryError(f"{exc}; or remove that file, and run this again for its tracks") from exc
                for twice in done.paths.intersection(part.paths):
                    raise LibraryError(
                        f"{self.name} holds {twice} twice, the second time in {path.name}: remove that file, and run "
                        "this again for its other tracks"
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
                    f"another run writes to {self.name} by now, or the folder is not the same on all machines: let one "
                    "run go on, to a folder that all of them see"
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
    """A library in Milvus, whose ids follow from the paths: a track that is put again replaces itself."""

    def __init__(self, uri: str, *, spec: EncoderSpec) -> None:
        self.name = uri
        self._model = Model(spec.model_name, spec.fingerprint, spec.embedding_dim)

    def begin(self, probes: Mapping[str, NDArray[np.float32]]) -> None:
        with closing(open_milvus(self.name, create=self._model)) as store:
            if store.model.fingerprint != self._model.fingerprint:
                raise ModelMismatch(
                    f"{self.name} was made with the model {store.model.name} ({store.model.fingerprint}), but the "
                    f"encoder is {self._model.name} ({self._model.fingerprint}): name that model, or another collection"
                )
            if not len(store.probes()):
                store.put_probes(probes)

    def done(self) -> Done:
        with closing(open_milvus(self.name, create=None)) as store:
            return Done(set(store.paths()), {file.path: file for file in store.failed()})

    def write(self, tracks: Sequence[NewTrack], *, failed: Sequence[FailedFile], group: Sequence[str]) -> None:
        with closing(open_milvus(self.name, create=None)) as store:
            store.put(tracks)
            store.note_failed(failed)

    def end(self) -> None:
        """Milvus has nothing to tidy."""
