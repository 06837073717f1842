import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, precision_score, recall_score

from train.data.__main__ import main
from train.data.captions import edit_captions
from train.data.labelled import Labelled, TextFilterError, read_labelled
from train.data.manifest import Row, read_manifest, write_manifest
from train.data.text_filter import TextFilter, binary_metrics, fit_text_filter
from train.data.text_rules import clean_text, split_sentences

# In the words of the tiny BERT: what sounds is music, what has a speed is not.
MUSIC = ["a low tone", "a high tone", "a pure low tone", "rough high tone", "a middle tone", "pulsing tone"]
OTHER = ["a fast", "slow", "a slow steady", "fast fast", "steady a", "slow fast a"]


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("Chill Lo-Fi Beats 2021 🎧 (Official Video) [HD] | https://example.com", "Chill Lo-Fi Beats"),
        ("Artist - Song (Official Music Video)", "Artist - Song"),
        ("night drive - Lyrics 1080p", "night drive"),
        ("Provided to YouTube by Some Label", ""),
        ("unofficial remix", "unofficial remix"),
        ("Rock &amp; roll<br>night\u200b", "Rock & roll night"),
        ("#lofi #chill", "lofi chill"),
        ("jazz [MASK] trio www.example.org/a?b=1 me@example.com @someone", "jazz trio"),
        ("best jazz 12/01/2019, 3:45", "best jazz"),
        ("80s synth-pop, 808 drums, 120 bpm", "80s synth-pop, 808 drums, 120 bpm"),
        ("90's waltz in 3/4 by UB40, 2-step", "90's waltz in 3/4 by UB40, 2-step"),
        ("R&B", "R&B"),
        ("B♭ clarinet ♫", "B♭ clarinet"),
        ("\uff4a\uff41\uff5a\uff5a", "jazz"),
        ("古典音楽", "古典音楽"),
        ("01", ""),
        ("x", ""),
        (" ".join(["word"] * 20), " ".join(["word"] * 20)),
        (" ".join(["word"] * 21), ""),
    ],
)
def test_rules_leave_what_describes_music(text: str, cleaned: str):
    assert clean_text(text) == cleaned
    assert clean_text(cleaned) == cleaned  # cleaning is done once


def test_clean_touches_short_texts_alone_and_drops_rows_that_lose_all(tmp_path: Path, capsys: pytest.CaptureFixture):
    rows = [
        Row(tmp_path / "1.wav", ("Jazz (Official Video)", "jazz 2020", "Jazz"), "1", "train", source="short_form"),
        Row(tmp_path / "2.wav", ("2020",), "2", "train", source="playlist"),
        Row(tmp_path / "3.wav", ("Recorded in 2020.",), "3", "test", ("rock",), "long_form", {"artist_id": "7"}),
        Row(tmp_path / "4.wav", ("Rain 1",), "4", "val"),
        Row(tmp_path / "5.wav", ("2020",), "5", "train", source="short_form"),
    ]
    write_manifest(tmp_path / "manifest.jsonl", rows)
    out = tmp_path / "new/clean.jsonl"
    assert main(["filter", "clean", str(tmp_path / "manifest.jsonl"), "--out", str(out)]) == 0
    cleaned = {row.track_id: row for row in read_manifest(out)}
    assert {i: row.captions for i, row in cleaned.items()} == {
        "1": ("Jazz", "jazz"),
        "2": ("2020",),
        "3": ("Recorded in 2020.",),
        "4": ("Rain",),
    }
    assert (cleaned["3"].labels, cleaned["3"].extra) == (("rock",), {"artist_id": "7"})
    assert cleaned["3"].audio.resolve() == tmp_path / "3.wav"
    said = capsys.readouterr().out
    assert "captions: 5 checked, 3 changed, 1 dropped" in said
    assert "4 rows in" in said


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("Calm piano", ["Calm piano"]),
        (" Slow. Very calm!  Why? \n\n http://x.y/z ", ["Slow.", "Very calm!", "Why?", "http://x.y/z"]),
        ("J. S. Bach, No. 5 in C, feat. strings. Live", ["J. S. Bach, No. 5 in C, feat. strings.", "Live"]),
        ("wow... so good", ["wow...", "so good"]),
        ("静かな曲。速い", ["静かな曲。", "速い"]),
    ],
)
def test_texts_are_parted_at_the_ends_of_sentences_and_lines(text: str, sentences: list[str]):
    assert split_sentences(text) == sentences


def test_a_text_is_judged_once_and_a_row_keeps_the_order_of_its_captions():
    asked: list[str] = []

    def judge(texts):
        asked.extend(texts)
        return ["" if text == "b" else text for text in texts]

    rows = [Row(Path("1"), ("c", "b", "a"), "1", "train"), Row(Path("2"), ("b",), "2", "train")]
    edited = edit_captions(rows, judge, sources=("",))
    assert asked == ["c", "b", "a"]
    assert [row.captions for row in edited.rows] == [("c", "a")]
    assert (edited.captions, edited.changed, edited.dropped, edited.rows_dropped) == (4, 0, 2, 1)


def test_a_manifest_is_never_emptied_or_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture):
    path = tmp_path / "manifest.jsonl"
    write_manifest(path, [Row(tmp_path / "1.wav", ("2020",), "1", "train")])
    assert main(["filter", "clean", str(path), "--out", str(path)]) == 2
    assert "choose another file" in capsys.readouterr().err
    assert main(["filter", "clean", str(path), "--out", str(tmp_path / "new.jsonl")]) == 2
    assert "no caption of" in capsys.readouterr().err
    assert not (tmp_path / "new.jsonl").exists()


def test_a_caption_may_hold_a_line_separator(tmp_path: Path):
    row = Row(tmp_path / "1.wav", ("slow\u2028jazz\x85",), "1", "train")
    write_manifest(tmp_path / "manifest.jsonl", [row, row])
    assert [read.captions for read in read_manifest(tmp_path / "manifest.jsonl")] == [row.captions] * 2


@pytest.mark.parametrize("seed", range(5))
def test_metrics_are_those_of_scikit_learn(seed: int):
    rng = np.random.default_rng(seed)
    said, true = rng.random(50) < 0.3 * seed, rng.random(50) < 0.4
    expected = [
        score(true, said, **kw)
        for score, kw in (
            (accuracy_score, {}),
            (precision_score, {"zero_division": 0}),
            (recall_score, {"zero_division": 0}),
        )
    ]
    metrics = binary_metrics(said, true)
    np.testing.assert_allclose([metrics[n] for n in ("accuracy", "precision", "recall")], expected, atol=1e-12)
    assert metrics["texts"] == 50


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("labelled") / "labelled.jsonl"
    entries = [{"text": t, "is_music": True} for t in MUSIC * 5] + [{"text": t, "is_music": False} for t in OTHER * 5]
    path.write_text("\n".join(map(json.dumps, entries)))
    return path


def test_the_fitted_filter_keeps_what_describes_music(
    labelled: Path, tiny_text_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture
):
    folder = tmp_path / "filter"
    command = ["filter", "fit", str(labelled), "--out", str(folder), "--init-from", str(tiny_text_model)]
    assert main([*command, "--epochs", "12", "--learning-rate", "3e-3"]) == 0
    assert "fitted on 48 texts; of 12 others accuracy 1.000" in capsys.readouterr().out
    about = json.loads((folder / "filter.json").read_text())
    assert (about["held_out"]["texts"], about["texts"]) == (12, 60)

    text_filter = TextFilter.load(folder)
    mixed = ["a rough low tone", "a slow", "high tone", *["fast"] * 20]
    probabilities = text_filter.probabilities(mixed)
    assert ((probabilities > 0.5) == np.array([True, False, True, *[False] * 20])).all()
    # Neither the batch nor the padding that it brings changes a judgement.
    np.testing.assert_allclose(text_filter.probabilities(["a slow"])[0], probabilities[1], atol=1e-6)

    rows = [
        Row(tmp_path / "1.wav", ("a slow", "a rough low tone"), "1", "train", source="long_form"),
        Row(tmp_path / "4.wav", ("A rough low tone.\nFast. High tone!",), "4", "train", source="long_form"),
        Row(tmp_path / "2.wav", ("fast",), "2", "train", source="long_form"),
        Row(tmp_path / "3.wav", ("fast",), "3", "train", source="playlist"),
    ]
    write_manifest(tmp_path / "manifest.jsonl", rows)
    apply = ["filter", "apply", str(tmp_path / "manifest.jsonl"), "--filter", str(folder), "--out"]
    assert main([*apply, str(tmp_path / "new.jsonl")]) == 0
    kept = {row.track_id: row.captions for row in read_manifest(tmp_path / "new.jsonl")}
    assert kept == {"1": ("a rough low tone",), "4": ("A rough low tone. High tone!",), "3": ("fast",)}
    assert "captions: 4 checked, 1 changed, 2 dropped" in capsys.readouterr().out
    assert main([*apply, str(tmp_path / "new.jsonl"), "--threshold", "1.5"]) == 2
    assert "--threshold is 1.5; expected a probability" in capsys.readouterr().err


def test_a_seed_makes_a_fit_repeatable(tiny_text_model: Path):
    texts = [Labelled(text, text in MUSIC) for text in MUSIC + OTHER]
    first, second = (fit_text_filter(texts, init_from=str(tiny_text_model), epochs=1, seed=7)[0] for _ in range(2))
    assert (first.probabilities(MUSIC) == second.probabilities(MUSIC)).all()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"text": "a"', r"line 1: not JSON"),
        ('{"is_music": true}', r"line 1: no 'text'"),
        ('{"text": "a", "is_music": 1}', r"line 1: is_music is 1; expected true or false"),
        ('{"text": "a", "is_music": true}', r"has 1 texts with is_music true; expected at least 5"),
    ],
)
def test_bad_labels_are_named(tmp_path: Path, line: str, message: str):
    (tmp_path / "labelled.jsonl").write_text(line)
    with pytest.raises(TextFilterError, match=message):
        read_labelled(tmp_path / "labelled.jsonl")


def test_what_is_no_filter_is_an_error(tmp_path: Path, tiny_text_model: Path):
    texts = [Labelled(text, text in MUSIC) for text in MUSIC + OTHER]
    with pytest.raises(TextFilterError, match=r"no labelled texts at"):
        read_labelled(tmp_path / "none.jsonl")
    with pytest.raises(TextFilterError, match=r"holds no filter\.json; give a folder"):
        TextFilter.load(tiny_text_model)
    with pytest.raises(TextFilterError, match=r"is not a BERT folder"):
        fit_text_filter(texts, init_from=str(tmp_path))
    (tmp_path / "config.json").write_text('{"model_type": "roberta"}')
    (tmp_path / "tokenizer.json").write_bytes((tiny_text_model / "tokenizer.json").read_bytes())
    with pytest.raises(TextFilterError, match=r"model of type 'roberta'; expected a BERT"):
        fit_text_filter(texts, init_from=str(tmp_path))
    (tmp_path / "config.json").write_bytes((tiny_text_model / "config.json").read_bytes())
    with pytest.raises(TextFilterError, match=r"holds no BERT weights that can be read"):
        fit_text_filter(texts, init_from=str(tmp_path))
    (tmp_path / "filter.json").write_text('{"format_version": 9}')
    with pytest.raises(TextFilterError, match=r"format version 9, not 1"):
        TextFilter.load(tmp_path)
    with pytest.raises(TextFilterError, match=r"epochs is 0"):
        fit_text_filter(texts, init_from=str(tiny_text_model), epochs=0)
