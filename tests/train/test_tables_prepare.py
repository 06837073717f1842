"""The data of the papers' tables, from rows as train.corpus writes them."""

import json
from pathlib import Path

import pytest

from train.corpus.compose.styles import STYLES
from train.data.manifest import Row, read_manifest, write_manifest
from train.evaluate.playlist import read_playlists
from train.evaluate.triplet import read_triplets
from train.tables import prepare
from train.tables.prepare import LONG_NOISE, MIN_TRACKS, main, make_playlists, make_sources

CAPTIONS = {
    "A calm swing tune with a piano.": "sentence",
    "piano, swing jazz, calm": "tags",
    "Slow swing, with upright bass": "sentence",
    "Calm Swing Mix": "title",
    "swing jazz, slow": "tags",
}


def row(number: int, *, split: str, style: str = "swing jazz", mood: str = "calm") -> Row:
    extra = {"caption_styles": [*CAPTIONS.values()], "attributes": {"style": style, "mood": mood}, "soundfont": "x.sf2"}
    return Row(Path(f"/x/{number}.flac"), tuple(CAPTIONS), f"t{number}", split, ("swing jazz", "piano"), "", extra)


def rows() -> list[Row]:
    of_training = [row(number, split="train") for number in range(400)]
    styles = sorted(STYLES)[:3]
    of_test = [row(1_000 + number, split="test", style=styles[number % 3]) for number in range(3 * MIN_TRACKS)]
    return [*of_training, row(500, split="val"), *of_test, row(2_000, split="test", mood="sad")]


def test_each_source_has_its_texts_and_noise_among_two_of_them():
    made = {made.source: made for made in make_sources([row(1, split="train")])}
    assert [*made] == ["short_form", "long_form", "playlist", "labels"]
    assert made["playlist"].captions == ("Calm Swing Mix",)
    assert made["labels"].captions == ("swing jazz", "piano")
    assert made["long_form"].captions[:2] == ("A calm swing tune with a piano.", "Slow swing, with upright bass")
    assert len(made["long_form"].captions) == 2 * (1 + LONG_NOISE)
    assert made["short_form"].captions[:4] == ("piano", "swing jazz", "calm", "slow")
    assert len({made.track_id for made in made.values()}) == 4
    assert not any(made.labels or made.extra for made in made.values())


def test_the_test_split_trains_nothing_and_validation_has_one_row_a_track():
    made = [*make_sources([row(1, split="test"), row(2, split="val")])]
    assert [(made.split, made.source) for made in made] == [("val", "long_form")]


def test_playlists_share_style_and_mood_and_hold_enough_tracks():
    playlists = make_playlists(rows())
    assert len(playlists) == 3
    assert all(len(playlist.tracks) == MIN_TRACKS for playlist in playlists)
    assert not {"t2000", "t1"} & {track for playlist in playlists for track in playlist.tracks}
    assert all(playlist.title != playlist.description for playlist in playlists)
    assert make_playlists(rows()) == playlists


def test_the_folder_is_what_tables_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    write_manifest(tmp_path / "manifest.jsonl", rows())
    out = tmp_path / "data"
    assert main([str(tmp_path / "manifest.jsonl"), "--out", str(out)]) == 0
    assert f"filter apply {out / 'cleaned.jsonl'}" in capsys.readouterr().out
    pairs = read_manifest(out / "pairs.jsonl")
    assert len(pairs) == len(rows())
    assert pairs[0].captions == ("A calm swing tune with a piano.", "Slow swing, with upright bass")
    assert len(read_playlists(out / "playlists.jsonl", rows=[row for row in pairs if row.split == "test"])) == 3
    triplets = read_triplets(out / "playlist_triplets.jsonl")
    assert len(triplets) == prepare.TRIPLETS
    described = {playlist.title: playlist for playlist in make_playlists(rows())}
    for title, positive, negative in triplets:
        assert described[title].description == positive
        (other,) = (each for each in described.values() if each.description == negative)
        assert other.style != described[title].style
    kinds = [json.loads(line)["is_music"] for line in (out / "labelled.jsonl").read_text().splitlines()]
    assert (len(kinds), sum(kinds)) == (prepare.LABELLED, prepare.LABELLED // 2)


def test_other_music_and_too_little_are_refused_in_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    manifest, out = tmp_path / "manifest.jsonl", tmp_path / "data"
    few = [row(number, split="train") for number in range(20)]
    cases = {
        "has no caption_styles and attributes; expected a corpus": [Row(Path("/x.wav"), ("a",), "t", "train")],
        "has fewer than 350 training tracks; render more": few,
        "has 0 groups of at least 4 test tracks": [row(number, split="train") for number in range(400)],
    }
    for message, some in cases.items():
        write_manifest(manifest, some)
        assert main([str(manifest), "--out", str(out)]) == 2
        assert message in capsys.readouterr().err
    assert not out.exists()
