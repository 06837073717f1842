"""Another model for a library, without down time: its vectors are made beside the old ones, then all switch at once."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from .background import make_probes
from .encoders import Encoder
from .errors import ModelMismatch
from .index.catalogue import Catalogue
from .index.live import LiveIndex
from .index.records import Model
from .ingest import AddReport, Ingest
from .progress import show_progress
from .query import check_count, check_texts
from .walk import Found


@dataclass(frozen=True)
class Reembedding:
    """How far a library is on its way to another model.

    Attributes:
        former, model: names of the library's model and of the other one.
        added: what was embedded now; its `failed` files keep the library from switching until they are removed from it
            or, where they have changed, added again.
        lacking: tracks that the other model has not embedded yet.
        is_current: whether the library has switched.
        overlap: by query, the share of the former model's ten best tracks that are among the other's; None
            without queries, or before every track is embedded.
    """

    former: str
    model: str
    added: AddReport
    lacking: int
    is_current: bool
    overlap: dict[str, float] | None


def reembed(
    folder: Path,
    encoder: Encoder,
    *,
    former: Encoder | None = None,
    queries: Sequence[str] = (),
    windows: int | None = None,
    switch: bool = False,
    progress: bool = True,
) -> Reembedding:
    """Embed every track of a library with another model; interrupted, it goes on where it was.

    Searches go on meanwhile with the former model, also in processes that have the library open when it switches.
    Going back is the same call with the former model: it embeds what was added since, and switches.

    Args:
        former: the library's model, for comparing the two on `queries`.
        windows: see `MusicSearch.add`.
        switch: make the other model the library's, if it has embedded every track.

    Raises:
        QueryError: a query is empty or too long, or `windows` < 1.
        ModelMismatch: `former` is not the library's model.
        LibraryError: there is no library, or `switch`, and some tracks could not be embedded.
        LibraryBusy: another process is writing to it.
        EncoderError: a model or its server failed; what was embedded is kept.
    """
    check_texts(queries, what="queries")
    if windows is not None:
        check_count(windows, name="windows", least=1)
    spec = encoder.spec
    model = Model(spec.model_name, spec.fingerprint, spec.embedding_dim)
    with (
        closing(Catalogue(folder)) as current,
        current.writing(),
        closing(current.beside(model)) as other,
    ):
        if former is not None and former.spec.fingerprint != current.model.fingerprint:
            raise ModelMismatch(
                f"the model of {folder} is {current.model.name} ({current.model.fingerprint}), not "
                f"{former.spec.model_name} ({former.spec.fingerprint}): name the former model, to compare the two"
            )
        paths = other.lacking()
        ingest = Ingest(other, encoder, retry=True, windows=windows)
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
            LiveIndex(other).save()
        return Reembedding(current.model.name, model.name, ingest.report, lacking, other.is_current(), overlap)


def _overlaps(
    current: Catalogue, other: Catalogue, former: Encoder, encoder: Encoder, queries: Sequence[str]
) -> list[float]:
    found = []
    for catalogue, model in ((current, former), (other, encoder)):
        index = LiveIndex(catalogue)
        best = [index.search(vector, k=10)[0].tolist() for vector in model.embed_texts(queries)]
        found.append([{track.number for track in catalogue.by_labels(labels)} for labels in best])
    return [len(before & after) / max(len(before), 1) for before, after in zip(*found, strict=True)]
