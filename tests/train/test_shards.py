"""A run from shards is the run from the manifest, and what is wrong with shards is said in one sentence."""

import hashlib
import io
import json
import os
import re
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import av
import fsspec
import numpy as np
import pytest
import soundfile
import torch
import webdataset

from audio import Recording
from tests.audio.sounds import music, write_audio
from train import loop
from train.__main__ import main as train_main
from train.config import FrontendConfig, load_recipe
from train.data.__main__ import main
from train.data.audio import AudioDecodeError, StoreSilentError, length, load_crop
from train.data.manifest import ManifestError, Row, read_manifest
from train.data.member import Member
from train.data.pack import pack_rows
from train.data.pairs import PairDataset, epoch_order
from train.data.rows import read_data, read_split
from train.data.shards import expand_braces
from train.evaluate.__main__ import main as evaluate
from train.loop import train
from train.teacher import ask_teacher, load_targets

TWO_EPOCHS = ["optim.batch_size=20", "optim.epochs=2", "loss.words_weight=0", "loss.label_weight=0"]


@pytest.fixture(scope="module")
def sources(tones: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tones as rows of two sources, one of which has no captions."""
    lines = [json.loads(line) for line in tones.read_text().splitlines()]
    for number, line in enumerate(lines):
        line |= {"audio": str(tones.parent / line["audio"]), "track_id": f"tones/{number}.v1", "source": "short_form"}
        if number % 4 == 3 and line["split"] == "train":
            line |= {"captions": [], "source": "recorded"}
    path = tmp_path_factory.mktemp("sources") / "manifest.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


@pytest.fixture(scope="module")
def shards(sources: Path) -> str:
    return pack(sources, "--shard-size", "0.2")


def pack(manifest: Path, *options: str, out: str = "shards") -> str:
    """The pattern of what was packed, some shards."""
    folder = manifest.parent / out
    assert main(["pack", str(manifest), "--out", str(folder), "--workers", "1", *options]) == 0
    places = sorted(folder.glob("*.tar"))
    return str(folder / (f"{{000..{len(places) - 1:03}}}.tar" if len(places) > 1 else "000.tar"))


def weights(run: Path) -> dict[str, torch.Tensor]:
    return torch.load(run / "last.pt", weights_only=True)["model"]


def assert_same_weights(one: Path, other: Path) -> None:
    others = weights(other)
    for name, value in weights(one).items():
        assert torch.equal(value, others[name]), name


def test_a_run_from_shards_ends_with_the_weights_of_the_run_from_the_manifest(
    sources: Path, shards: str, tiny_overrides: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    settings = [*tiny_overrides, *TWO_EPOCHS, "loss.views_share=0.3", "loss.views_of=track", "augment.noise=0.5"]
    config = load_recipe("starter", overrides=[*settings, "data.mixture={short_form: 3, recorded: 1}"])
    train(config, manifest=sources, run=tmp_path / "manifest")

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    save, saves = loop._save_state, iter([loop._save_state, stop])
    monkeypatch.setattr(loop, "_save_state", lambda *args, **kwargs: next(saves)(*args, **kwargs))
    with pytest.raises(KeyboardInterrupt):
        train(config, manifest=shards, run=tmp_path / "shards")
    monkeypatch.setattr(loop, "_save_state", save)
    config = replace(config, optim=replace(config.optim, workers=1))
    train(config, manifest=shards, run=tmp_path / "shards", resume=True)
    assert_same_weights(tmp_path / "manifest", tmp_path / "shards")


@pytest.fixture
def store(shards: str) -> Iterator[str]:
    """The same shards in a store that fsspec reads."""
    files = fsspec.filesystem("memory")
    for path in Path(shards).parent.iterdir():
        files.pipe_file(f"/set/{path.name}", path.read_bytes())
    yield f"memory://set/{Path(shards).name}"
    files.rm("/set", recursive=True)


def test_a_run_from_a_store_does_too_and_asks_once_a_batch(
    shards: str, store: str, tiny_overrides: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    asked: list[int] = []
    cat_ranges = fsspec.AbstractFileSystem.cat_ranges

    def count(self: object, paths: list[str], *args: object, **options: object) -> object:
        asked.append(len(paths))
        return cat_ranges(self, paths, *args, **options)

    monkeypatch.setattr(fsspec.AbstractFileSystem, "cat_ranges", count)
    overrides = [*tiny_overrides, *TWO_EPOCHS]
    train(load_recipe("starter", overrides=overrides), manifest=shards, run=tmp_path / "here")
    assert not asked
    arguments = ["--data", store, "--out", str(tmp_path / "there"), "--set", *overrides]
    assert train_main(["starter", *arguments]) == 0
    assert asked == [18, 20, 20, 18, 20, 20, 18]  # the validation rows once more, to see whether they can be read
    assert_same_weights(tmp_path / "here", tmp_path / "there")


def test_a_store_that_does_not_answer_for_a_moment_changes_no_batch(store: str, monkeypatch: pytest.MonkeyPatch):
    rows = read_split(store, split="train")
    dataset = PairDataset(rows, frontend=FrontendConfig(window_s=1.0), seed=0, training=True)
    expected = dataset.__getitems__([0, 1, 2])
    cat_ranges, refused = fsspec.AbstractFileSystem.cat_ranges, iter(range(3))

    def refuse(self: object, paths: list[str], *args: object, **options: object) -> object:
        if next(refused, None) is not None:
            return [ConnectionError("reset by peer")] * len(paths)
        return cat_ranges(self, paths, *args, **options)

    monkeypatch.setattr(fsspec.AbstractFileSystem, "cat_ranges", refuse)
    monkeypatch.setattr("train.data.member._PAUSES_S", (0.0, 0.0, 0.0))
    for pair, same in zip(dataset.__getitems__([0, 1, 2]), expected, strict=True):
        assert (pair.place, pair.unreadable) == (same.place, ())


def test_a_store_that_stays_silent_ends_the_run_which_continues_as_if_it_had_not(
    store: str,
    tiny_overrides: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    cat_ranges, left = fsspec.AbstractFileSystem.cat_ranges, iter(range(5))  # batches: of the second epoch, the first

    def silent_later(self: object, paths: list[str], *args: object, **options: object) -> object:
        return (silent if next(left, None) is None else cat_ranges)(self, paths, *args, **options)

    monkeypatch.setattr("train.data.member._PAUSES_S", (0.0, 0.0))
    arguments = ["starter", "--data", store, "--set", *tiny_overrides, *TWO_EPOCHS, "--out"]
    assert train_main([*arguments, str(tmp_path / "whole")]) == 0
    with monkeypatch.context() as context:
        context.setattr(fsspec.AbstractFileSystem, "cat_ranges", silent_later)
        assert train_main([*arguments, str(tmp_path / "run")]) == 2
    error = " ".join(capsys.readouterr().err.split())
    assert error.endswith(f"(reset by peer), after retries; the last good state is in {tmp_path / 'run'}: use --resume")
    assert train_main([*arguments, str(tmp_path / "run"), "--resume"]) == 0
    assert_same_weights(tmp_path / "whole", tmp_path / "run")
    assert not (tmp_path / "run/unreadable.jsonl").exists()


@pytest.mark.parametrize("run", [main, train_main])
def test_what_is_written_does_not_go_to_a_folder_that_is_called_like_a_store(
    tones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys, run: Callable[[list[str]], int]
):
    monkeypatch.chdir(tmp_path)
    command = ["pack", str(tones)] if run is main else ["starter", "--data", str(tones)]
    with pytest.raises(SystemExit, match="2"):
        run([*command, "--out", "s3://bucket/folder"])
    assert "argument --out: s3://bucket/folder is a URL; expected a path on this machine" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def silent(self: object, paths: list[str], *args: object, **options: object) -> object:
    """A store that answers nothing, in place of `fsspec.AbstractFileSystem.cat_ranges`."""
    return [ConnectionError("reset by peer")] * len(paths)


@pytest.mark.parametrize("part", ["_validate", "_followed"])
def test_a_store_that_falls_silent_in_a_validation_ends_the_run_too(
    store: str,
    tiny_overrides: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    part: str,
):
    compute = getattr(loop, part)

    def without_answers(*args: object, **options: object) -> object:
        monkeypatch.setattr(fsspec.AbstractFileSystem, "cat_ranges", silent)
        return compute(*args, **options)

    monkeypatch.setattr(loop, part, without_answers)
    monkeypatch.setattr(loop, "open_teacher", lambda path, *, frontend: Loudness())
    monkeypatch.setattr("train.data.member._PAUSES_S", (0.0, 0.0))
    settings = [*tiny_overrides, *TWO_EPOCHS, "loss.distil_weight=1", "loss.teacher=some"]
    assert train_main(["starter", "--data", store, "--out", str(tmp_path / "run"), "--set", *settings]) == 2
    error = " ".join(capsys.readouterr().err.split())
    assert error.endswith("(reset by peer), after retries; nothing was saved yet: start again")
    assert not (tmp_path / "run/metrics.jsonl").exists()


@pytest.mark.parametrize("workers", [0, 1])
def test_an_evaluation_blames_a_silent_store_and_no_recording(
    store: str, tiny_overrides: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys, workers: int
):
    overrides = [*tiny_overrides, *TWO_EPOCHS, "optim.epochs=1", f"optim.workers={workers}"]
    checkpoint = train(load_recipe("starter", overrides=overrides), manifest=store, run=tmp_path / "run")
    monkeypatch.setattr(fsspec.AbstractFileSystem, "cat_ranges", silent)
    monkeypatch.setattr("train.data.member._PAUSES_S", (0.0, 0.0))
    for protocol in ("retrieval", "zeroshot"):
        capsys.readouterr()
        assert evaluate([protocol, "--ckpt", str(checkpoint), "--data", store, "--split", "val"]) == 2
        *_, error = capsys.readouterr().err.splitlines()
        told = r"error: cannot decode \S+ in memory://\S+: [^;]+ \(reset by peer\), after retries; start again when"
        assert re.match(told, error)


def test_evaluation_reads_shards(
    tones: Path, tiny_overrides: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    overrides = [*tiny_overrides, *TWO_EPOCHS, "optim.epochs=1"]
    checkpoint = train(load_recipe("starter", overrides=overrides), manifest=tones, run=tmp_path / "run")
    packed = pack(copied(tones, tmp_path), out="packed")
    capsys.readouterr()
    results = []
    for data in (str(tones), packed):
        assert evaluate(["retrieval", "--ckpt", str(checkpoint), "--data", data, "--split", "val", "--json"]) == 0
        results.append(json.loads(capsys.readouterr().out)["text_to_audio"])
    assert results[0] == results[1]


def copied(manifest: Path, folder: Path) -> Path:
    """A copy of a manifest elsewhere."""
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    path = folder / "manifest.jsonl"
    path.write_text("\n".join(json.dumps({**line, "audio": str(manifest.parent / line["audio"])}) for line in lines))
    return path


HOSTILE = [
    {"audio": "a.b/x.y.ogg", "captions": ["one\u2028line", "zwei"], "labels": ["jazz"], "year": 1999, "size": 3},
    {"audio": "a.b/x.y.ogg", "track_id": "a/b.c/d", "split": "val", "source": "playlist", "captions": ["ü"]},
    {"audio": "p.g722", "track_id": "../../etc", "labels": []},
    {"audio": "no suffix. X", "captions": ["x"], "split": "test"},
    {"audio": "a.b/x.y.ogg", "track_id": "a/b.c/d", "captions": ["as the second"]},
]


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """Names with dots and slashes, two rows of one track_id, a file whose name alone tells its format."""
    (tmp_path / "a.b").mkdir()
    write_audio(tmp_path / "a.b" / "x.y.ogg", music(seconds=2.0), kind="ogg")
    soundfile.write(tmp_path / "no suffix. X", music(seconds=2.0).T, 44_100, format="FLAC")
    wave = (32_767 * music(seconds=2.0, channels=1, sample_rate_hz=16_000)).astype(np.int16)
    with av.open(str(tmp_path / "p.g722"), "w") as file:
        frame = av.AudioFrame.from_ndarray(wave, format="s16", layout="mono")
        frame.sample_rate = 16_000
        stream = file.add_stream("g722", rate=16_000, layout="mono")
        for packets in (stream.encode(frame), stream.encode(None)):
            file.mux(packets)
    path = tmp_path / "manifest.jsonl"
    path.write_text("\n".join(json.dumps(line) for line in HOSTILE))
    return path


def test_rows_and_crops_come_back_as_they_were(hostile: Path):
    before, after = read_manifest(hostile), read_split(pack(hostile, "--shard-size", "0.03"))
    assert len({row.audio.shard for row in after}) > 1
    assert [replace(row, audio=None) for row in after] == [replace(row, audio=None) for row in before]
    for old, new in zip(before, after, strict=True):
        crops = [load_crop(row.audio, sample_rate_hz=16_000, samples=8_000, place=0.3) for row in (old, new)]
        assert np.abs(crops[0]).max() > 0.1
        np.testing.assert_array_equal(crops[0], crops[1])


def test_the_package_webdataset_reads_them(hostile: Path):
    samples = list(webdataset.WebDataset(pack(hostile, "--shard-size", "0.03"), shardshuffle=False))
    assert [sample["__key__"] for sample in samples] == [
        *("00000000-a_b_x_y_ogg", "00000001-a_b_c_d", "00000002-etc", "00000003-no_suffix_X", "00000004-a_b_c_d")
    ]
    for sample, row in zip(samples, read_manifest(hostile), strict=True):
        values = json.loads(sample["json"])
        assert (values["track_id"], values.get("captions", [])) == (row.track_id, list(row.captions))
        content = sample[values["audio"].rpartition(".")[2]]
        assert content == row.audio.read_bytes()


def test_an_index_counts_the_rows_of_each_shard_by_split(hostile: Path):
    folder = Path(pack(hostile, "--shard-size", "0.03")).parent
    index = json.loads((folder / "index.json").read_text())["shards"]
    assert len(index) > 1
    total = {split: sum(shard["rows"].get(split, 0) for shard in index) for split in ("train", "val", "test")}
    assert total == {"train": 3, "val": 1, "test": 1}
    for shard in index:
        content = (folder / shard["shard"]).read_bytes()
        assert (shard["bytes"], shard["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())


@pytest.mark.parametrize("options", [[], ["--encode", "flac"], ["--encode", "opus", "--sample-rate", "24000"]])
def test_the_same_rows_give_the_same_bytes(hostile: Path, options: list[str]):
    first = pack(hostile, "--shard-size", "0.03", *options, out="first")
    for path in hostile.parent.rglob("*.*"):
        os.utime(path, (1, 1))
    second = pack(hostile, "--shard-size", "0.03", *options, "--workers", "2", out="second")
    contents = [{path.name: path.read_bytes() for path in Path(one).parent.iterdir()} for one in (first, second)]
    assert len(contents[0]) > 3
    assert contents[0] == contents[1]


@pytest.mark.parametrize(("codec", "rate_hz"), [("flac", 16_000), ("opus", 16_000), ("opus", 24_000)])
def test_recordings_are_encoded_anew(hostile: Path, codec: str, rate_hz: int):
    rows = read_split(pack(hostile, "--encode", codec, "--sample-rate", str(rate_hz)))
    for old, new in zip(read_manifest(hostile), rows, strict=True):
        assert new.audio.name.endswith(codec)
        wave = np.concatenate(list(Recording(old.audio, sample_rate_hz=rate_hz).blocks()))
        again = load_crop(new.audio, sample_rate_hz=rate_hz, samples=len(wave))
        assert len(again) == len(wave)
        error = np.square(again - wave).mean() / np.square(wave).mean()
        assert error < (1e-7 if codec == "flac" else 0.16), error  # noise is what Opus changes most
        with pytest.raises(AudioDecodeError, match="ends before its window 1"):
            load_crop(new.audio, sample_rate_hz=rate_hz, samples=len(wave) + 10, window=1)


def test_recordings_that_cannot_be_packed_are_named_and_left_out(hostile: Path, capsys: pytest.CaptureFixture[str]):
    with hostile.open("a") as file:
        file.write('\n{"audio": "gone.flac"}\n{"audio": "torn.flac", "captions": ["x"]}\n')
    (hostile.parent / "torn.flac").write_bytes(b"no audio")
    assert len(read_split(pack(hostile, out="plain"))) == len(HOSTILE) + 1  # a run says what does not decode
    printed = capsys.readouterr()
    assert f"left out: {hostile.parent / 'gone.flac'}: No such file or directory\n" in printed.err
    assert "6 rows in 1 shards, " in printed.out
    assert len(read_split(pack(hostile, "--encode", "flac", out="flac"))) == len(HOSTILE)
    assert f"left out: {hostile.parent / 'torn.flac'}: " in capsys.readouterr().err

    hostile.write_text('{"audio": "torn.flac"}')
    assert main(["pack", str(hostile), "--out", str(hostile.parent / "none"), "--encode", "opus"]) == 2
    assert "not one of the 1 recordings can be packed; the first: " in capsys.readouterr().err
    assert not list((hostile.parent / "none").iterdir())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--shard-size", "0"], "--shard-size is 0; expected megabytes, more than 0"),
        (["--encode", "opus", "--sample-rate", "22050"], "--sample-rate is 22050; expected 8000, 12000, 16000"),
        (["--encode", "flac", "--sample-rate", "10"], "--sample-rate is 10; expected Hz"),
        ([], "holds shards already; choose another --out, or empty it"),
    ],
)
def test_a_pack_that_cannot_be_made_is_refused(
    hostile: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
):
    before = Path(pack(hostile)).read_bytes()
    assert main(["pack", str(hostile), "--out", str(hostile.parent / "shards"), *options]) == 2
    assert message in capsys.readouterr().err
    assert (hostile.parent / "shards/000.tar").read_bytes() == before


def test_a_tar_without_its_index_is_read_itself(hostile: Path):
    pattern = pack(hostile, "--shard-size", "0.03")
    before = read_data(pattern)
    for index in Path(pattern).parent.glob("*.jsonl"):
        index.unlink()
    after = read_data(pattern)
    assert after.sha256 == before.sha256
    assert after.rows == [replace(row, audio=row.audio._replace(extent=None)) for row in before.rows]


def test_an_index_tells_how_long_recordings_are(hostile: Path, monkeypatch: pytest.MonkeyPatch):
    manifest = read_manifest(hostile)
    with (hostile.parent / "torn.mp3").open("wb") as file:
        file.write(b"no audio")
    with hostile.open("a") as file:
        file.write('\n{"audio": "torn.mp3"}')
    rows = read_split(pack(hostile))
    lengths = [length(row.audio, sample_rate_hz=16_000) for row in manifest]
    monkeypatch.setattr(Recording, "measure", lambda self: pytest.fail("measured again"))
    assert [length(row.audio, sample_rate_hz=16_000) for row in rows[:-1]] == lengths
    assert rows[-1].audio.extent is None


def test_braces_are_expanded():
    assert expand_braces("s3://b/{000..063}.tar") == [f"s3://b/{number:03}.tar" for number in range(64)]
    assert expand_braces("{a,b}/{9..10}.tar") == ["a/9.tar", "a/10.tar", "b/9.tar", "b/10.tar"]
    assert expand_braces("one.tar") == ["one.tar"]


def cut(path: Path, *, to: int) -> None:
    os.truncate(path, to)


def write_tar(path: Path, *files: tuple[str, bytes]) -> None:
    with tarfile.open(path, "w") as tar:
        for name, content in files:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


BROKEN: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "cut": (lambda f: cut(f / "001.tar", to=5_000), "{000..003}.tar", r"001\.tar was cut short: it has 5,000 bytes, "),
    "cut, without an index": (
        lambda f: [(f / "001.jsonl").unlink(), cut(f / "001.tar", to=5_000)],
        "{000..003}.tar",
        r"001\.tar was cut short or is damaged: the end of the tar is missing",
    ),
    "cut between two files": (
        lambda f: [write_tar(f / "other.tar", ("a.flac", b"a"), ("a.json", b"{}")), cut(f / "other.tar", to=4 * 512)],
        "other.tar",
        r"other\.tar was cut short or is damaged",
    ),
    "missing": (
        lambda f: (f / "001.tar").unlink(),
        "{000..004}.tar",
        r"2 of the 5 shards of .* are missing, the first is .*001\.tar; add the missing shards, or name only existing",
    ),
    "wildcard": (lambda f: None, "*.tar", r"1 of the 1 shards .* name them with braces, \{000\.\."),
    "named twice": (lambda f: None, "{001,001}.tar", r"001\.tar 2 times; name each"),
    "empty range": (lambda f: None, "{005..003}.tar", r"\{005\.\.003\} in .* is empty; expected a range such as"),
    "empty braces": (lambda f: None, "{}.tar", r"\{\} in .* is empty; expected a range such as"),
    "foreign": (
        lambda f: write_tar(f / "other.tar", ("a.flac", b"a"), ("a.txt", b"a")),
        "other.tar",
        r"other\.tar: key 'a' has the files a\.flac, a\.txt; expected a recording and its \.json",
    ),
    "empty": (lambda f: write_tar(f / "other.tar"), "other.tar", r"other\.tar holds no row; expected recordings and"),
    "no tar": (
        lambda f: (f / "other.tar").write_text("no tar" * 200),
        "other.tar",
        r"other\.tar is not a tar; name one that",
    ),
    "a key twice": (
        lambda f: write_tar(f / "other.tar", *[(f"a.{kind}", b"{}") for kind in ("flac", "json", "flac", "json")]),
        "other.tar",
        r"other\.tar has two rows of key 'a'; expected one of each",
    ),
    "a key again": (
        lambda f: write_tar(
            f / "other.tar", *[(f"{name}", b"{}") for name in ("a.x", "a.json", "b.x", "b.json", "a.y")]
        ),
        "other.tar",
        r"other\.tar has two rows of key 'a'; expected one of each",
    ),
    "no object": (
        lambda f: write_tar(f / "other.tar", ("a.flac", b"a"), ("a.json", b"[]")),
        "other.tar",
        r"other\.tar, a\.json: not a JSON object; expected one",
    ),
    "a bad row": (
        lambda f: write_tar(f / "other.tar", ("a.flac", b"a"), ("a.json", b'{"split": "dev"}')),
        "other.tar",
        r"other\.tar, line 1: split is 'dev'; expected one of",
    ),
    "a bad index": (
        lambda f: (f / "000.jsonl").write_text('{"member": "a.flac", "row": {"audio": "a.flac"}}\n'),
        "000.tar",
        r"000\.jsonl, line 1: expected 'member', 'offset' and 'size', .*; delete this index",
    ),
    "a folder": (
        lambda f: (f / "other.tar").mkdir(),
        "other.tar",
        r"other\.tar cannot be read \(Is a directory\); check the",
    ),
    "a store that nobody knows": (
        lambda f: None,
        "s9://set/000.tar",
        r"^s9://set/000\.tar cannot be opened \(Protocol not known.*\); check the address, and",
    ),
    "a manifest in a store": (lambda f: None, "s3://set/a.jsonl", r"a\.jsonl is not a tar; a store must hold shards"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_shards_that_cannot_be_used_are_named(hostile: Path, name: str):
    folder = Path(pack(hostile, "--shard-size", "0.03")).parent
    assert len(list(folder.glob("*.tar"))) == 4
    breaks, pattern, message = BROKEN[name]
    breaks(folder)
    with pytest.raises(ManifestError, match=message) as raised:
        read_data(pattern if "://" in pattern else str(folder / pattern))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("breaks", "message"),
    [
        (lambda shard: shard.unlink(), r"000\.tar: the shard cannot be opened \(No such file"),
        (lambda shard: cut(shard, to=3_000), r"000\.tar: the shard was cut short and ends within it; copy"),
        (
            lambda shard: write_tar(shard, ("other.ogg", bytes(10**6))),
            r"000\.tar: the index of the shard does not match the shard; pack the shard again",
        ),
    ],
    ids=["gone", "cut", "another"],
)
@pytest.mark.parametrize("remote", [False, True])
def test_a_recording_that_vanishes_is_an_unreadable_row(
    hostile: Path, breaks: Callable[[Path], object], message: str, remote: bool
):
    shard = Path(pack(hostile, "--shard-size", "0.001", out=f"shards{remote}")).parent / "000.tar"
    rows = read_split(str(shard.with_name("{000..004}.tar")))[:2]
    breaks(shard)
    if remote:
        files = fsspec.filesystem("memory")
        if shard.exists():
            files.pipe_file("/gone/000.tar", shard.read_bytes())
        rows[0] = replace(rows[0], audio=rows[0].audio._replace(shard="memory://gone/000.tar"))
        message = message.replace("the shard cannot be opened", r"memory://gone/000\.tar cannot be read").split(r"\(")[
            0
        ]
    first, second = PairDataset(rows, frontend=FrontendConfig(window_s=1.0), seed=0, training=True).__getitems__([0, 1])
    assert (first.place, second.place) == (1, 1)  # replaced, and named
    (unreadable,) = first.unreadable
    assert unreadable.place == 0
    with pytest.raises(AudioDecodeError, match=f"cannot decode 00000000-a_b_x_y_ogg.ogg in .*{message}"):
        raise AudioDecodeError(unreadable.reason)


class Loudness(torch.nn.Module):
    def forward(self, waveform: torch.Tensor) -> torch.Tensor:
        return torch.stack([waveform.abs().mean(1), waveform.std(1)], dim=1)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_teacher_that_a_store_does_not_answer_has_no_answers_without_sound(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
):
    rows, cpu = read_split(store, split="val"), torch.device("cpu")

    monkeypatch.setattr(fsspec.AbstractFileSystem, "cat_ranges", silent)
    monkeypatch.setattr("train.data.member._PAUSES_S", (0.0, 0.0))
    told = r"^cannot decode \S+ in memory://\S+: [^\n]+ \(reset by peer\), after retries; start again when [^\n]+$"
    with pytest.raises(StoreSilentError, match=told):
        ask_teacher(Loudness(), rows, file=tmp_path / "0.npz", frontend=FrontendConfig(), device=cpu, workers=workers)
    assert not (tmp_path / "0.npz").exists()


def test_a_teacher_hears_shards_as_it_hears_files(sources: Path, shards: str, tmp_path: Path):
    frontend, heard = FrontendConfig(window_s=0.5), []
    for number, data in enumerate((sources, shards)):
        rows, file = read_split(data, split="val"), tmp_path / f"{number}.npz"
        ask_teacher(Loudness(), rows, file=file, frontend=frontend, device=torch.device("cpu"))
        targets = load_targets(file, rows, frontend=frontend)
        heard.append(np.stack([targets.of_crop(place, start=3_000) for place in range(len(rows))]))
    np.testing.assert_array_equal(heard[0], heard[1])


def rows_in_shards(*, shards: int, each: int, sources: int = 1) -> list[Row]:
    return [
        Row(Member(f"{number // each:03}.tar", f"{number}.flac", 512, 1), (), str(number), "train", source=str(source))
        for number in range(shards * each)
        for source in [number % sources]
    ]


def test_an_epoch_may_mix_a_few_shards_at_a_time():
    rows = rows_in_shards(shards=7, each=10)
    order = epoch_order(rows, mixture={}, seed=0, epoch=1, shuffle_shards=2)
    assert sorted(order) == [(1, place, 0) for place in range(70)]
    groups = [{place // 10 for _, place, _ in order[start : start + 20]} for start in range(0, 70, 20)]
    assert [len(group) for group in groups] == [2, 2, 2, 1]
    assert sorted(set().union(*groups)) == list(range(7))
    first = [place // 10 for _, place, _ in order[:20]]
    assert first != sorted(first)
    assert first != sorted(first, reverse=True)
    assert order == epoch_order(rows, mixture={}, seed=0, epoch=1, shuffle_shards=2)
    assert groups[0] != {place // 10 for _, place, _ in epoch_order(rows, mixture={}, seed=0, epoch=2)[:20]}


def test_a_mixture_mixes_a_few_shards_of_each_source():
    rows = rows_in_shards(shards=8, each=10, sources=2)
    order = epoch_order(rows, mixture={"0": 3, "1": 1}, seed=0, epoch=0, shuffle_shards=2)
    assert sum(rows[place].source == "0" for _, place, _ in order) == 60
    first = [place for _, place, _ in order if rows[place].source == "0"][:40]
    assert sorted(first) == list(range(0, 80, 2))  # the source goes round before it begins anew
    assert len({place // 10 for place in first[:10]}) <= 2


def test_rows_of_a_manifest_have_no_shards_to_mix():
    rows = [Row(Path("a.flac"), (), "a", "train")]
    with pytest.raises(ManifestError, match=r"data\.shuffle_shards is 2, but the rows are of a manifest; expected sha"):
        epoch_order(rows, mixture={}, seed=0, epoch=0, shuffle_shards=2)


def test_a_pack_in_several_processes_keeps_the_order(hostile: Path):
    packed = pack_rows(read_manifest(hostile), out=hostile.parent / "out", shard_bytes=1, workers=2)
    assert [shard.name for shard in packed] == [f"{number:03}.tar" for number in range(len(HOSTILE))]
