import json
import operator
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch.utils.data import DataLoader

from train.config import AugmentConfig, FrontendConfig
from train.data.audio import AudioDecodeError, load_crop
from train.data.captions import edit_captions
from train.data.manifest import ManifestError, Row, read_manifest
from train.data.manifest import write_manifest as write_manifest_rows
from train.data.pairs import Joined, PairDataset, collate, epoch_order
from train.teacher import TeacherTargets

FRONTEND = FrontendConfig(window_s=1.0)


@pytest.fixture
def ramp(tmp_path: Path) -> Path:
    """Three seconds in which every sample tells its own place."""
    path = tmp_path / "ramp.wav"
    soundfile.write(path, np.linspace(0, 1, 48_000, endpoint=False), 16_000, subtype="FLOAT")
    return path


def write_manifest(folder: Path, *lines: str) -> Path:
    path = folder / "manifest.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


@pytest.mark.parametrize(("place", "first_sample"), [(0.0, 0), (0.5, 16_000), (1.0, 32_000)])
def test_a_random_crop_starts_where_it_was_told(ramp: Path, place: float, first_sample: int):
    crop = load_crop(ramp, sample_rate_hz=16_000, samples=16_000, place=place)
    np.testing.assert_allclose(crop[[0, -1]], [first_sample / 48_000, (first_sample + 15_999) / 48_000], atol=1e-6)


def test_windows_follow_each_other_and_the_last_is_padded(ramp: Path):
    second = load_crop(ramp, sample_rate_hz=16_000, samples=20_000, window=1)
    np.testing.assert_allclose(second[0], 20_000 / 48_000, atol=1e-6)
    assert second.shape == (20_000,)
    last = load_crop(ramp, sample_rate_hz=16_000, samples=20_000, window=2)
    assert (last[8_000:] == 0).all()
    assert last[7_999] > 0.99


def test_stereo_at_another_rate_becomes_mono_at_ours(tmp_path: Path):
    time = np.arange(3 * 44_100) / 44_100
    left = 0.4 * np.sin(2 * np.pi * 440 * time)
    soundfile.write(tmp_path / "stereo.flac", np.stack([left, np.zeros_like(left)], axis=1), 44_100)
    crop = load_crop(tmp_path / "stereo.flac", sample_rate_hz=16_000, samples=16_000)
    expected = 0.2 * np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)
    np.testing.assert_allclose(crop[200:-200], expected[200:-200], atol=2e-3)


@pytest.mark.parametrize("name", ["notes.flac", "samples.raw"])
def test_what_is_not_audio_is_named(name: str, tmp_path: Path):
    (tmp_path / name).write_text("no audio")
    with pytest.raises(AudioDecodeError, match=rf"cannot decode .*{name}"):
        load_crop(tmp_path / name, sample_rate_hz=16_000, samples=16_000)


def test_training_draws_differ_by_epoch_and_repeat_by_seed(ramp: Path, tmp_path: Path):
    line = json.dumps({"audio": ramp.name, "captions": [f"caption {i}" for i in range(50)]})
    rows = read_manifest(write_manifest(tmp_path, line))
    pairs = PairDataset(rows, frontend=FRONTEND, seed=1, training=True)
    first = pairs[0]
    second = pairs[(1, 0, 0)]
    assert first.caption != second.caption
    assert not torch.equal(first.waveform, second.waveform)
    again = PairDataset(rows, frontend=FRONTEND, seed=1, training=True)[0]
    assert again.caption == first.caption
    assert torch.equal(again.waveform, first.waveform)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{not json", "line 2: not JSON"),
        ('{"captions": ["x"]}', "line 2: no 'audio'"),
        ('{"audio": "a.flac", "captions": "x"}', "line 2: captions is 'x'; expected a list of texts"),
        ('{"audio": "a.flac", "captions": [" "]}', "line 2: an empty caption"),
        ('{"audio": "a.flac", "captions": ["a"], "labels": "jazz"}', "line 2: labels is 'jazz'; expected a list"),
        ('{"audio": "a.flac", "captions": ["x"], "split": "dev"}', "line 2: split is 'dev'"),
    ],
)
def test_a_bad_manifest_line_is_named_by_its_number(tmp_path: Path, line: str, message: str):
    with pytest.raises(ManifestError, match=message):
        read_manifest(write_manifest(tmp_path, '{"audio": "a.flac", "captions": ["x"]}', line))


def test_an_empty_split_is_refused(tmp_path: Path):
    path = write_manifest(tmp_path, '{"audio": "a.flac", "captions": ["x"], "split": "train"}')
    with pytest.raises(ManifestError, match=r"no row of split 'test'; it has \['train'\]"):
        read_manifest(path, split="test")


def test_a_row_without_captions_is_read_written_and_left_out_where_captions_are_needed(tmp_path: Path):
    bare = '{"audio": "a.flac", "source": "recorded", "package": "zaz-data"}'
    path = write_manifest(
        tmp_path, bare, '{"audio": "b.flac", "captions": []}', '{"audio": "c.flac", "captions": ["x"]}'
    )
    rows = read_manifest(path)
    assert [row.captions for row in rows] == [(), (), ("x",)]
    write_manifest_rows(tmp_path / "again.jsonl", rows)
    assert read_manifest(tmp_path / "again.jsonl") == rows
    assert read_manifest(path, having="captions") == rows[2:]
    with pytest.raises(ManifestError, match=r"none of the 3 rows of split 'train' in .* has labels; expected some"):
        read_manifest(path, split="train", having="labels")


def test_a_voice_is_found_from_another_folder_too(tmp_path: Path):
    """Separated voices (`train.lyrics`) are paths like the recordings; a merged or split manifest still finds them."""
    (tmp_path / "songs/voices").mkdir(parents=True)
    path = write_manifest(tmp_path / "songs", '{"audio": "1.flac", "voice": "voices/1.flac"}')
    write_manifest_rows(tmp_path / "all.jsonl", read_manifest(path))
    assert json.loads((tmp_path / "all.jsonl").read_text())["voice"] == "songs/voices/1.flac"
    (row,) = read_manifest(tmp_path / "all.jsonl")
    assert row.extra["voice"] == str(tmp_path / "songs/voices/1.flac")


def test_a_filter_of_texts_keeps_the_rows_that_never_had_any():
    rows = [Row(Path("a.flac"), captions, "a", "train") for captions in ((), ("drop",), ("drop", "keep"))]
    edited = edit_captions(rows, lambda texts: ["" if text == "drop" else text for text in texts], sources=("",))
    assert [row.captions for row in edited.rows] == [(), ("keep",)]
    assert edited.rows_dropped == 1


def rows_of(**counts: int) -> list[Row]:
    return [
        Row(Path(f"{source}{i}.flac"), ("a",), f"{source}{i}", "train", source=source)
        for source, count in counts.items()
        for i in range(count)
    ]


def test_an_epoch_takes_every_row_once():
    order = epoch_order(rows_of(labels=7), mixture={}, seed=0, epoch=2)
    assert sorted(order) == [(2, i, 0) for i in range(7)]
    assert order != epoch_order(rows_of(labels=7), mixture={}, seed=0, epoch=3)
    assert order == epoch_order(rows_of(labels=7), mixture={}, seed=0, epoch=2)


def test_a_mixture_draws_sources_by_weight_and_repeats_the_small_ones():
    rows = rows_of(short_form=20, playlist=3_000, labels=980)
    order = epoch_order(rows, mixture={"short_form": 2, "playlist": 1, "labels": 1}, seed=0, epoch=0)
    assert len(order) == len(set(order)) == 4_000  # no row twice under the same number
    shares = [
        sum(rows[place].source == source for _, place, _ in order) / 4_000 for source in ("short_form", "playlist")
    ]
    assert shares == pytest.approx([0.5, 0.25], abs=0.03)
    taken = [count for _, place, count in order if rows[place].source == "short_form"]
    assert max(taken) == (len(taken) - 1) // 20  # each of the 20 as often as any other


def test_each_batch_has_the_proportions_of_the_mixture():
    rows = rows_of(short_form=50, long_form=3_000, playlist=700, labels=850)
    weights = {"short_form": 2, "long_form": 2, "playlist": 1, "labels": 1}
    order = epoch_order(rows, mixture=weights, seed=3, epoch=1)
    for start in range(0, len(order) - 60 + 1, 60):
        batch = [rows[place].source for _, place, _ in order[start : start + 60]]
        for source, weight in weights.items():
            assert abs(batch.count(source) - 10 * weight) <= 1  # 4,600 rows are no whole number of 2:2:1:1


def test_sources_that_are_left_keep_their_proportions():
    """As in the paper's ablations (MuLan §4.2.1): what is not named takes no part."""
    rows = rows_of(short_form=200, long_form=200, playlist=300, labels=300)
    order = epoch_order(rows, mixture={"short_form": 2, "long_form": 2, "labels": 1}, seed=0, epoch=0)
    counts = Counter(rows[place].source for _, place, _ in order)
    assert counts == {"short_form": 400, "long_form": 400, "labels": 200}


def test_a_mixture_of_a_source_that_is_not_there_is_refused():
    with pytest.raises(ManifestError, match="names the source 'playlist', which no training row has"):
        epoch_order(rows_of(labels=3), mixture={"playlist": 1}, seed=0, epoch=0)


@pytest.mark.parametrize("training", [False, True])
def test_without_a_random_crop_it_is_the_central_window(ramp: Path, training: bool):
    """As MusCALL is tested (Manco et al. 2022, §4.2)."""
    pairs = PairDataset(
        [Row(ramp, ("a",), "a", "train")], frontend=FRONTEND, seed=0, training=training, random_crops=not training
    )
    for key in (0, (1, 0, 0)):
        starts_and_ends = pairs[key].waveform[[0, -1]]
        np.testing.assert_allclose(starts_and_ends, [16_000 / 48_000, 31_999 / 48_000], atol=1e-6)


def test_unreadable_rows_are_replaced_by_drawn_ones(ramp: Path, tmp_path: Path):
    (tmp_path / "broken.flac").write_text("no audio")
    # Most of the files, and all of those that follow one another: as where one folder of two is gone.
    rows = [Row(tmp_path / "broken.flac", ("broken",), str(i), "train") for i in range(60)]
    rows += [Row(ramp, (f"whole {i}",), str(i), "train") for i in range(60, 80)]
    pairs = PairDataset(rows, frontend=FRONTEND, seed=0, training=True)
    taken = [pairs[i] for i in range(60)]
    assert all(pair.place >= 60 and pair.caption == f"whole {pair.place}" for pair in taken)
    assert all(pair.unreadable[0].place == place for place, pair in enumerate(taken))
    assert len({pair.place for pair in taken}) > 10  # not all the same one
    for place, pair in enumerate(taken):
        again = PairDataset(rows, frontend=FRONTEND, seed=0, training=True)[place]
        assert again.place == pair.place
        assert torch.equal(again.waveform, pair.waveform)
    assert [pairs[(1, i, 0)].place for i in range(60)] != [pair.place for pair in taken]


def test_a_row_taken_again_has_another_crop(ramp: Path):
    rows = [Row(ramp, ("a",), "a", "train")]
    pairs = PairDataset(rows, frontend=FRONTEND, seed=0, training=True)
    first, again, same = pairs[(0, 0, 0)], pairs[(0, 0, 1)], pairs[0]
    assert not torch.equal(first.waveform, again.waveform)
    assert torch.equal(first.waveform, same.waveform)


def test_two_views_are_augmented_apart(ramp: Path):
    rows = [Row(ramp, ("a",), "a", "train")]
    augment = AugmentConfig(noise=1.0)
    pair = PairDataset(rows, frontend=FRONTEND, seed=0, training=True, augment=augment, views="crop")[0]
    assert pair.views.shape == (2, len(pair.waveform))
    assert not torch.equal(pair.views[0], pair.views[1])
    batch = collate([pair, pair])
    assert batch.views.shape == (2, 2, len(pair.waveform))
    assert batch.places.tolist() == [0, 0]
    assert not batch.silent


@pytest.mark.parametrize(("views", "apart"), [("crop", False), ("track", True)])
def test_the_second_view_is_of_the_crop_or_of_another_one_of_its_track(ramp: Path, views: str, apart: bool):
    rows = [Row(ramp, (), "a", "train")]
    pairs = PairDataset(rows, frontend=FRONTEND, seed=0, training=True, views=views)
    items = [pairs[(epoch, 0, 0)] for epoch in range(8)]
    starts = torch.stack([item.views[:, 0] * 48_000 for item in items])  # the ramp tells its place
    assert all(torch.equal(item.views[0], item.waveform) for item in items)
    distances = (starts[:, 1] - starts[:, 0]).abs()
    assert ((distances > 100) == apart).all()
    assert not apart or starts[:, 1].max() - starts[:, 1].min() > 16_000  # from all over the track


def test_only_an_item_of_silence_is_silent(ramp: Path, tmp_path: Path):
    (tmp_path / "broken.flac").write_text("no audio")
    rows = [Row(ramp, (), "a", "train"), Row(tmp_path / "broken.flac", ("b",), "b", "train")]
    bare, broken = (PairDataset(rows, frontend=FRONTEND, seed=0, training=False)[i] for i in (0, 1))
    assert bare.caption == ""
    assert bare.waveform.any()
    assert not collate([bare]).silent
    assert collate([bare, broken]).silent


def test_the_parts_of_a_batch_are_the_whole(ramp: Path, tmp_path: Path):
    (tmp_path / "broken.flac").write_text("no audio")
    rows = [Row(ramp, (f"ramp {i}",), str(i), "train") for i in range(5)]
    rows.append(Row(tmp_path / "broken.flac", ("broken",), "5", "train"))
    targets = TeacherTargets([np.full((3, 2), i, np.float16) for i in range(6)], window_samples=16_000)
    pairs = PairDataset(rows, frontend=FRONTEND, seed=0, training=True, views="crop", targets=targets)
    in_parts = DataLoader(pairs, batch_sampler=[[5, 0], [1, 2, 3], [4], [3, 2]], collate_fn=collate)
    whole = [collate(pairs.__getitems__(places)) for places in ([5, 0, 1, 2, 3], [4, 3, 2])]
    joined = Joined(in_parts, parts=2)
    assert len(joined) == 2
    for batch, expected in zip(joined, whole, strict=True):
        for part, value in expected._asdict().items():
            same = torch.equal if isinstance(value, torch.Tensor) else operator.eq
            assert same(getattr(batch, part), value), part


def test_a_batch_is_silent_if_a_part_is(ramp: Path, tmp_path: Path):
    (tmp_path / "broken.flac").write_text("no audio")
    rows = [Row(ramp, (), "a", "train"), Row(tmp_path / "broken.flac", ("b",), "b", "train")]
    pairs = PairDataset(rows, frontend=FRONTEND, seed=0, training=False)
    in_parts = DataLoader(pairs, batch_sampler=[[0], [1], [0], [0]], collate_fn=collate)
    assert [batch.silent for batch in Joined(in_parts, parts=2)] == [True, False]
    (batch, _) = Joined(in_parts, parts=2)
    assert batch.views is None
    assert batch.targets is None
