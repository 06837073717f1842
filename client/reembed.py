"""Changes a library's model without downtime: new vectors are made next to the old ones, then the library switches."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from .background import make_probes
from .decoders import Workers
from .encoders import Encoder
from .errors import ModelMismatch
from .index.records import Model
from .index.store import Store, open_index, open_store
from .ingest import AddReport, Ingest
from .progress import show_progress
from .query import check_count, check_texts
from .walk import Found


@dataclass(frozen=True)
class Reembedding:
    """How far a library has moved to another model.

    Attributes:
        former: the name of the library's model.
        model: the name of the other model.
        added: the report of what was embedded now. A library does not switch while its `failed` has files. Remove these
            files from the library, or add them again if they have changed.
        lacking: how many tracks the other model has not embedded yet.
        is_current: whether the library has switched.
        overlap: by query, the share of the former model's ten best tracks that are among the other's. None without
            queries, or before every track is embedded.
    """

    former: str
    model: str
    added: AddReport
    lacking: int
    is_current: bool
    overlap: dict[str, float] | None


def reembed(
    library: str | Path,
    encoder: Encoder,
    *,
    former: Encoder | None = None,
    queries: Sequence[str] = (),
    windows: int | None = None,
    switch: bool = False,
    progress: bool = True,
) -> Reembedding:
    """Embed every track of a library with another model. After an interruption, the next call continues.

    Searches continue with the former model meanwhile. This also holds for processes that have the library open when it
    switches. To go back, call this with the former model. It embeds the tracks that were added since, and switches.

    Milvus has no lock. So two calls for one library do the same work, until one of them switches and the other fails.
    What others write while the library switches may stay with the former model.

    Args:
        library: the folder or Milvus address of the library.
        encoder: the other model.
        former: the library's model, to compare both on `queries`.
        queries: the texts to compare the models on.
        windows: see `MusicSearch.add`.
        switch: make the other model the library's model, if it has embedded every track.
        progress: see `MusicSearch.add`.

    Raises:
        QueryError: a query is empty or too long, or `windows` < 1.
        ModelMismatch: `former` is not the library's model, or a library in Milvus has the other model already, or has
            gone over to one meanwhile.
        LibraryError: there is no library, `switch` is set and some tracks could not be embedded, or the library in
            Milvus has no alias (see `index.milvus`).
        LibraryBusy: another process is writing to the library.
        EncoderError: a model or its server failed. Finished tracks are kept.
    """
    check_texts(queries, what="queries")
    if windows is not None:
        check_count(windows, name="windows", least=1)
    spec = encoder.spec
    model = Model(spec.model_name, spec.fingerprint, spec.embedding_dim)
    with closing(open_store(library)) as current, current.writing():
        if former is not None and former.spec.fingerprint != current.model.fingerprint:
            raise ModelMismatch(
                f"the model of {current.name} is {current.model.name} ({current.model.fingerprint}), not "
                f"{former.spec.model_name} ({former.spec.fingerprint}): name the former model, to compare both"
            )
        with closing(current.beside(model)) as other, closing(Workers()) as workers:
            paths = other.lacking()
            ingest = Ingest(other, encoder, workers=workers, retry=True, windows=windows)
            with show_progress("embedding", total=len(paths), enabled=progress) as advance:
                ingest.run(Found(paths, folders=[], failed=[]), advance=advance)
            if not len(other.probes()):
                other.put_probes(make_probes(encoder))
            lacking = len(other.lacking())
            overlap = None
            if former is not None and queries and not lacking:
                overlap = dict(zip(queries, _overlaps(current, other, former, encoder, queries), strict=True))
            if switch:
                other.make_current()
                open_index(other).save()
            return Reembedding(current.model.name, model.name, ingest.report, lacking, other.is_current(), overlap)


def _overlaps(current: Store, other: Store, former: Encoder, encoder: Encoder, queries: Sequence[str]) -> list[float]:
    found = []
    for store, model in ((current, former), (other, encoder)):
        index = open_index(store)
        best = [index.search(vector, k=10)[0].tolist() for vector in model.embed_texts(queries)]
        found.append([{track.number for track in store.by_labels(labels)} for labels in best])
    return [len(before & after) / max(len(before), 1) for before, after in zip(*found, strict=True)]
