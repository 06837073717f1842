"""(audio crop, caption) pairs for training and evaluation, and their order in an epoch."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from train.augment import augment_waveform
from train.config import AugmentConfig, FrontendConfig
from train.data.audio import AudioDecodeError, Crop, StoreSilentError, cut_crop
from train.data.manifest import ManifestError, Row
from train.data.member import Member, fetched_ahead
from train.teacher import TeacherTargets

Key = tuple[int, int, int]  # epoch, place of the row, number of times the epoch already took this row
MAX_DRAWS = 100  # number of rows that are tried for one item before it becomes silence
CENTRE = 0.5  # place of the central crop


class Unreadable(NamedTuple):
    """A row whose audio cannot be decoded.

    Attributes:
        place: the index of the row.
        reason: one clause that names the file.
        may_pass: whether only its store does not answer.
    """

    place: int
    reason: str
    may_pass: bool = False


class Pair(NamedTuple):
    """One item.

    Attributes:
        waveform: float32 [samples].
        views: two augmented views [2, samples], if requested.
        caption: "" if the row has none.
        place: the index of its row.
        targets: a teacher's output for it, float32 [tags], if requested.
        unreadable: rows that could not be decoded before this one replaced them.
        silent: whether the item is silence because no row could be decoded.
    """

    waveform: Tensor
    views: Tensor | None
    caption: str
    place: int
    targets: Tensor | None = None
    unreadable: tuple[Unreadable, ...] = ()
    silent: bool = False


class Batch(NamedTuple):
    """The input of one training step."""

    waveforms: Tensor  # float32 [n, samples]
    views: Tensor | None  # float32 [n, 2, samples]
    captions: list[str]  # "" for a row without any
    places: Tensor  # int64 [n], the rows
    targets: Tensor | None  # float32 [n, tags], a teacher's; NaN for an item without teacher output
    unreadable: list[Unreadable]
    silent: bool  # whether an item is silence because no row could be decoded


def collate(pairs: Sequence[Pair]) -> Batch:
    """Stack pairs into a batch."""
    views = [pair.views for pair in pairs if pair.views is not None]
    targets = [pair.targets for pair in pairs if pair.targets is not None]
    return Batch(
        waveforms=torch.stack([pair.waveform for pair in pairs]),
        views=torch.stack(views) if views else None,
        captions=[pair.caption for pair in pairs],
        places=torch.tensor([pair.place for pair in pairs], dtype=torch.int64),
        targets=torch.stack(targets) if targets else None,
        unreadable=[failed for pair in pairs for failed in pair.unreadable],
        silent=any(pair.silent for pair in pairs),
    )


class Joined:
    """The batches of a loader that loads each batch in parts.

    Several workers then make one batch at the same time. On a CPU that takes a little time from each core. One worker
    alone would take all of it from one core, and each step waits for its slowest core.

    Args:
        loader: gives the parts, those of a batch one after the other.
        parts: number of parts of a batch.
    """

    def __init__(self, loader: DataLoader[Any], *, parts: int) -> None:
        self.loader, self.parts = loader, parts

    def __len__(self) -> int:
        return len(self.loader) // self.parts

    def __iter__(self) -> Iterator[Batch]:
        loaded = iter(self.loader)
        for _ in range(len(self)):
            parts = list(itertools.islice(loaded, self.parts))
            yield parts[0] if self.parts == 1 else _join(parts)


def _join(parts: Sequence[Batch]) -> Batch:
    waveforms, views, captions, places, targets, unreadable, silent = zip(*parts, strict=True)
    return Batch(
        waveforms=torch.cat(waveforms),
        views=None if views[0] is None else torch.cat(views),
        captions=[*itertools.chain(*captions)],
        places=torch.cat(places),
        targets=None if targets[0] is None else torch.cat(targets),
        unreadable=[*itertools.chain(*unreadable)],
        silent=any(silent),
    )


def raise_if_silent(unreadable: Iterable[Unreadable]) -> None:
    """Raise StoreSilentError if the store of one of these rows does not answer.

    The items of a dataset only say so: an error raised in a worker would have the worker's traceback in its message.
    """
    for failed in unreadable:
        if failed.may_pass:
            raise StoreSilentError(failed.reason)


class PairDataset(Dataset[Pair]):
    """One item per track: a crop of one window, one caption and the place of its row.

    In training, the crop, the caption and the augmentations are drawn at random from the seed and the key. So the data
    of an epoch do not depend on the number of workers or on where a run was resumed. In evaluation the key is only the
    place of the row, the crop is the central window (MusCALL §4.2), and the caption is drawn from (seed, place).

    In training, a row that cannot be decoded is replaced by another random row, up to `MAX_DRAWS` times, so every batch
    is full. If that fails, if the row's store does not answer, and in evaluation, the item is silence with `silent`
    set, and `unreadable` has the reasons. The caller decides what to do.

    Args:
        rows: the tracks.
        frontend: gives the sample rate and the length of a crop.
        seed: of all random choices.
        training: whether items are for training or for evaluation.
        augment: augmentation of waveforms in training; None: no augmentation.
        views: "crop" adds two augmented views of the crop; "track" adds one of the crop and one of another crop of the
            same recording.
        targets: a teacher's output for these rows, if items need it.
        random_crops: whether training takes a random crop instead of the central window.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        *,
        frontend: FrontendConfig,
        seed: int,
        training: bool,
        augment: AugmentConfig | None = None,
        views: str | None = None,
        targets: TeacherTargets | None = None,
        random_crops: bool = True,
    ) -> None:
        self.rows, self.frontend, self.seed, self.training = rows, frontend, seed, training
        self.augment, self.views, self.targets = augment, views, targets
        self.random_crops = training and random_crops

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: int | Key) -> Pair:
        epoch, first, taken = key if isinstance(key, tuple) else (0, key, 0)
        rng = np.random.default_rng((self.seed, epoch, first, taken, 1))  # independent of the generator in `_read`
        unreadable: list[Unreadable] = []
        place = first
        for _ in range(MAX_DRAWS if self.training else 1):
            try:
                return self._read(epoch, place, taken)._replace(unreadable=tuple(unreadable))
            except StoreSilentError as exc:  # another row would change what the run learns
                unreadable.append(Unreadable(place, str(exc), may_pass=True))
                break
            except AudioDecodeError as exc:
                unreadable.append(Unreadable(place, str(exc)))
                place = int(rng.integers(len(self.rows)))
        silence = torch.zeros(self.frontend.window_samples)
        views = silence.expand(2, -1) if self.views else None
        targets = torch.full((self.targets.tags,), torch.nan) if self.targets else None
        return Pair(silence, views, "", first, targets, tuple(unreadable), silent=True)

    def __getitems__(self, keys: Sequence[int | Key]) -> list[Pair]:
        """Return the items of a batch, which a loader requests together; its recordings are fetched in parallel."""
        places = [key[1] if isinstance(key, tuple) else key for key in keys]
        with fetched_ahead([self.rows[place].audio for place in places]):
            return [self[key] for key in keys]

    def _read(self, epoch: int, place: int, taken: int) -> Pair:
        row = self.rows[place]
        rng = np.random.default_rng((self.seed, epoch, place, taken))
        caption = row.captions[rng.integers(len(row.captions))] if row.captions else ""
        crop = self._crop(row, rng)
        waveform, views, targets = torch.from_numpy(crop.waveform), None, None
        if self.views:
            second = torch.from_numpy(self._crop(row, rng).waveform) if self.views == "track" else waveform
            views = torch.stack([self._augmented(view, rng) for view in (waveform, second)])
        if self.targets:
            targets = torch.from_numpy(self.targets.of_crop(place, start=crop.start))
        return Pair(self._augmented(waveform, rng), views, caption, place, targets)

    def _crop(self, row: Row, rng: np.random.Generator) -> Crop:
        return cut_crop(
            row.audio,
            sample_rate_hz=self.frontend.sample_rate_hz,
            samples=self.frontend.window_samples,
            place=rng.random() if self.random_crops else CENTRE,
        )

    def _augmented(self, waveform: Tensor, rng: np.random.Generator) -> Tensor:
        if self.augment is None:
            return waveform
        return augment_waveform(waveform, config=self.augment, sample_rate_hz=self.frontend.sample_rate_hz, rng=rng)


def epoch_order(
    rows: Sequence[Row], *, mixture: Mapping[str, float], seed: int, epoch: int, shuffle_shards: int = 0
) -> list[Key]:
    """Return the keys of an epoch in order, as many as there are rows.

    Without a mixture the order is a permutation. A mixture gives the proportions of the sources, such as MuLan's
    {"short_form": 2, "long_form": 2, "playlist": 1, "labels": 1} (§3.4). Every part of the epoch, such as a batch, has
    these proportions, except for rounding. A source repeats as often as needed. A source that is not in the mixture is
    not used.

    Args:
        rows: the training rows.
        mixture: weight of each source; empty: no mixture.
        seed: of the order.
        epoch: number of the epoch.
        shuffle_shards: number of random shards whose rows are shuffled together, for a disk or a cache that is read
            shard by shard. With a mixture, this applies to each source separately. 0: shuffle all rows.

    Raises:
        ManifestError: the mixture names a source that no row has, or `shuffle_shards` is set and the rows are not in
            shards.
    """
    shards = [row.audio.shard for row in rows if isinstance(row.audio, Member)]
    if shuffle_shards and len(shards) < len(rows):
        raise ManifestError(
            f"data.shuffle_shards is {shuffle_shards}, but the rows are of a manifest; expected shards, such as --data "
            "'shards/{000..063}.tar', or data.shuffle_shards=0"
        )
    rng = np.random.default_rng((seed, epoch))

    def shuffle(places: Sequence[int]) -> list[int]:
        return _shuffle_by_shards(places, shards, at_once=shuffle_shards, rng=rng)

    if not mixture:
        return [(epoch, place, 0) for place in shuffle(range(len(rows)))]
    by_source = {source: [i for i, row in enumerate(rows) if row.source == source] for source in mixture}
    for source, places in by_source.items():
        if not places:
            raise ManifestError(f"data.mixture names the source {source!r}, which no training row has")
    endless = [_rounds(places, shuffle) for places in by_source.values()]
    return [(epoch, *next(endless[source])) for source in _interleave(list(mixture.values()), length=len(rows))]


def _shuffle_by_shards(
    places: Sequence[int], shards: Sequence[str], *, at_once: int, rng: np.random.Generator
) -> list[int]:
    """Shuffle rows in groups of `at_once` shards, one group after the other; 0 shuffles all rows together.

    Args:
        shards: the shard of each row; not used if `at_once` is 0.
    """
    if not at_once:
        mixed: list[int] = rng.permutation(places).tolist()
        return mixed
    of_shard: dict[str, list[int]] = {}
    for place in places:
        of_shard.setdefault(shards[place], []).append(place)
    groups = list(of_shard.values())
    order = rng.permutation(len(groups)).tolist()
    taken = [order[start : start + at_once] for start in range(0, len(order), at_once)]
    return [
        place
        for numbers in taken
        for place in rng.permutation([place for number in numbers for place in groups[number]]).tolist()
    ]


def _interleave(weights: Sequence[float], *, length: int) -> list[int]:
    """Return `length` source numbers, each as often as its weight says and evenly spread.

    The k-th of a source's c items has the position (k + 1/2) / c; the items are sorted by position.

    >>> _interleave([2, 1, 1], length=8)
    [0, 1, 2, 0, 0, 1, 2, 0]
    """
    ends = np.rint(length * np.cumsum(weights) / np.sum(weights)).astype(int)
    counts = np.diff(ends, prepend=0)
    where = np.concatenate([(np.arange(count) + 0.5) / count for count in counts])
    sources: list[int] = np.repeat(np.arange(len(counts)), counts)[np.argsort(where, kind="stable")].tolist()
    return sources


def _rounds(places: Sequence[int], shuffle: Callable[[Sequence[int]], list[int]]) -> Iterator[tuple[int, int]]:
    for taken in itertools.count():
        for place in shuffle(places):
            yield place, taken
