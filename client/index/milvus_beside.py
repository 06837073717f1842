"""Another model's vectors of a library in Milvus, beside those that searches use, until the alias switches.

They are in a second collection, with everything that the library knows about its tracks. Others may write to the
library meanwhile, because Milvus has no lock. So `lacking` compares the two collections and copies changes to the new
one. Writes between the last comparison and the switch stay in the former collection only.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from ..errors import LibraryError, ModelMismatch
from .fields import Value, check_metadata
from .milvus import MilvusStore, collection_of, notes_of
from .milvus_entities import FACTS, among, content, to_row, to_track
from .records import FileState, Model, NewTrack, Track, check_vectors


class MilvusBeside(MilvusStore):
    """The vectors of another model beside the library.

    It takes the tracks of the library, with their ids and annotations, and no others.

    Args:
        current: the open library.
        model: the other model.

    Raises:
        ModelMismatch: the model is that of the library.
        LibraryError: the library has no alias that could switch, or Milvus fails.
    """

    def __init__(self, current: MilvusStore, model: Model) -> None:
        if model.fingerprint == current.model.fingerprint:
            raise ModelMismatch(
                f"{current.name} already has the model {model.name} ({model.fingerprint}): name another model"
            )
        if current.collection == current.alias:
            former = collection_of(current.alias, current.model)
            raise LibraryError(
                f"{current.name} is a collection, as older versions made it, but only an alias can switch the model: "
                f"stop all its users, rename {current.alias} to {former} and {notes_of(current.alias)} to "
                f"{notes_of(former)}, and make {current.alias} an alias of {former}"
            )
        self._current = current
        super().__init__(current.name, create=model)

    def _open(self, create: Model | None) -> None:
        assert create is not None
        collection = collection_of(self.alias, create)
        self._make(collection, create)
        self._use(collection)

    def _refuse_former(self) -> None:
        """Raise `ModelMismatch` if another process has switched the library: what is here may be newer by now."""
        self._current._refuse_former()

    def put(self, tracks: Sequence[NewTrack]) -> None:
        """As `MilvusStore.put`; tracks that are not in the library, or not any more, are left out."""
        for track in tracks:
            check_vectors(track.vectors, dim=self.model.dim, of=track.file.path)
            check_metadata(track.metadata)
        by_path = {track.file.path: track for track in tracks}
        known = self._current._query(among("path", list(by_path)), "path", "annotations", strong=True)
        self._upsert(to_row(row["track_id"], by_path[row["path"]], annotations=row["annotations"]) for row in known)

    def touch(
        self, files: Mapping[str, FileState], *, tags: Mapping[str, Mapping[str, Value]] = MappingProxyType({})
    ) -> None:
        """As `MilvusStore.touch`, in the library; `lacking` brings it over."""
        self._current.touch(files, tags=tags)

    def by_path(self, path: str) -> Track | None:
        """The library's track, without a label if this model has not embedded it."""
        track = self._current.by_path(path)
        if track is None:
            return None
        own = self.by_id(track.track_id)
        is_embedded = own is not None and own.file.content_hash == track.file.content_hash
        return replace(track, label=track.label if is_embedded else None)

    def lacking(self) -> list[str]:
        """The paths of the tracks that the model has not embedded.

        First, all other changes of the library since the last call are copied, and tracks that were removed from it are
        removed here too.
        """
        paths: list[str] = []
        for rows in self._current._each(self._current.collection, "", *FACTS):
            now = {row["track_id"]: row for row in rows}
            own = {row["track_id"]: row for row in self._by_ids(list(now), *FACTS, strong=True)}
            embedded = {
                track_id: row
                for track_id, row in now.items()
                if track_id in own and own[track_id]["content_sha256"] == row["content_sha256"]
            }
            paths += [row["path"] for track_id, row in now.items() if track_id not in embedded]
            self._bring_over(
                row for track_id, row in embedded.items() if content(to_track(row)) != content(to_track(own[track_id]))
            )
        for rows in self._each(self.collection, "", "track_id"):
            ids = [row["track_id"] for row in rows]
            there = {row["track_id"] for row in self._current._by_ids(ids, strong=True)}
            self.remove(track_id for track_id in ids if track_id not in there)
        return paths

    def _bring_over(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Replace the data of these tracks by the library's rows, and keep the vectors."""
        changed = {row["track_id"]: {name: row[name] for name in FACTS} for row in rows}
        self._change(changed, lambda row: row.update(changed[row["track_id"]]))

    def make_current(self) -> None:
        """Let the alias mean this collection, for everyone who opens the library from now on.

        Raises:
            ModelMismatch: another process has switched the library meanwhile.
            LibraryError: the model has not embedded every track, or Milvus fails.
        """
        self._check_current()
        if paths := self.lacking():
            raise LibraryError(f"{self.model.name} has not embedded {len(paths)} tracks of {self.name} yet")
        failed = self._current.failed()
        self.forget_failed({file.path for file in self.failed()} - {file.path for file in failed})
        self.note_failed(failed)
        self.wait_for_index()
        self._take_alias()
