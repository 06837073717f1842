"""Each public set as a folder of its own layout, with sine waves for music."""

import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from train.data.__main__ import main
from train.data.adapters import ADAPTERS, AdapterError, adapt
from train.data.adapters.gtzan import read_gtzan
from train.data.adapters.layout import seeded_split
from train.data.adapters.magnatagatune import MERGED_INTO, SYNONYMS
from train.data.check import check_manifest
from train.data.manifest import Row, read_manifest, write_manifest
from train.evaluate.pairs import Comparison, read_comparisons

JAMENDO_HEADER = "TRACK_ID\tARTIST_ID\tALBUM_ID\tPATH\tDURATION\tTAGS\n"
MUSICCAPS_HEADER = (
    "ytid,start_s,end_s,audioset_positive_labels,aspect_list,caption,author_id,is_balanced_subset,is_audioset_eval\n"
)


def tone(path: Path) -> Path:
    """A tenth of a second, in the format of the name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.3 * np.sin(np.arange(1_600) / 5), 16_000)
    return path


def by_id(rows: list[Row]) -> dict[str, Row]:
    assert len({row.track_id for row in rows}) == len(rows)
    return {row.track_id: row for row in rows}


def test_muscall_joins_the_captions_of_a_recording(tmp_path: Path):
    tone(tmp_path / "audio/a/1.flac"), tone(tmp_path / "audio/2.flac")
    for split, entries in {
        "train": [
            {"audio_id": 1, "caption": "A calm piano. ", "audio_path": "a/1.flac"},
            {"audio_id": 1, "caption": "Slow and quiet.", "audio_path": "a/1.flac"},
        ],
        "test": [{"audio_id": "2", "caption": "Loud guitars.", "audio_path": "2.flac"}],
    }.items():
        (tmp_path / f"dataset_{split}.json").write_text(json.dumps(entries))
    rows = by_id(adapt("muscall", tmp_path).rows)
    assert rows["1"].captions == ("A calm piano.", "Slow and quiet.")
    assert [rows[i].split for i in "12"] == ["train", "test"]
    assert rows["1"].source == "long_form"
    assert rows["1"].audio == tmp_path / "audio/a/1.flac"


def test_muscall_arrays_are_refused_before_an_epoch_is(tmp_path: Path):
    (tmp_path / "audio").mkdir()
    np.save(tmp_path / "audio/track_1.npy", np.zeros(1_600, np.float32))
    entry = {"audio_id": 1, "caption": "A calm piano.", "audio_path": "track_1.npy"}
    (tmp_path / "dataset_test.json").write_text(json.dumps([entry]))
    with pytest.raises(AdapterError, match=r"entry 0: audio_path is 'track_1\.npy', .* as WAV or FLAC"):
        adapt("muscall", tmp_path)


@pytest.fixture
def song_describer(tmp_path: Path) -> Path:
    tone(tmp_path / "audio/34/1004034.2min.mp3")
    (tmp_path / "song_describer.csv").write_text(
        "caption_id,track_id,caption,is_valid_subset,familiarity,artist_id,album_id,path,duration\n"
        '1,1004034,"A twisty, nice melody",True,0,7,8,34/1004034.mp3,120.0\n'
        "2,1004034,What is this,False,1,7,8,34/1004034.mp3,120.0\n"
        "3,99,Never downloaded,True,1,7,8,99/99.mp3,120.0\n"
    )
    return tmp_path


def test_song_describer_finds_the_excerpts_and_joins_captions(song_describer: Path):
    adapted = adapt("song_describer", song_describer)
    (row,) = adapted.rows
    assert row.captions == ("A twisty, nice melody", "What is this")
    assert (row.split, row.audio.name, row.extra["artist_id"]) == ("test", "1004034.2min.mp3", "7")
    assert adapted.without_audio == ["99"]


def test_song_describer_can_be_cut_to_its_validated_captions(song_describer: Path):
    assert adapt("song_describer_valid", song_describer).rows[0].captions == ("A twisty, nice melody",)


def test_musiccaps_finds_clips_by_id_and_counts_those_that_are_gone(tmp_path: Path):
    names = {"-0Gj8-vB1q4": "-0Gj8-vB1q4", "_0SdAVK79lg": "[_0SdAVK79lg]-[30-40]", "YaaaaaaaaaZ": "YYaaaaaaaaaZ"}
    lines = []
    for place, (ytid, name) in enumerate(names.items()):
        tone(tmp_path / f"clips/{place}/{name}.wav")
        evaluation = place == 1
        lines.append(
            f"""{ytid},30,40,"/m/0140xf,/m/02cjck","['low, dark', 'bells']","A bell, {place}",4,F,{evaluation}"""
        )
    lines.append("""goneGONEgon,0,10,/m/04rlf,"['x']",Gone,4,False,True""")
    (tmp_path / "musiccaps-public.csv").write_text(MUSICCAPS_HEADER + "\n".join(lines))
    adapted = adapt("musiccaps", tmp_path, audio=tmp_path / "clips")
    rows = by_id(adapted.rows)
    assert {ytid: row.audio.stem for ytid, row in rows.items()} == names
    assert rows["_0SdAVK79lg"].split == "test"
    assert rows["-0Gj8-vB1q4"].split in ("train", "val")
    assert rows["-0Gj8-vB1q4"].labels == ("low, dark", "bells")
    assert rows["-0Gj8-vB1q4"].captions == ("A bell, 0",)
    assert rows["-0Gj8-vB1q4"].extra["audioset_labels"] == ["/m/0140xf", "/m/02cjck"]
    assert adapted.without_audio == ["goneGONEgon"]


def test_mtg_jamendo_takes_the_published_splits(tmp_path: Path):
    for split, number in {"train": 101, "validation": 202, "test": 303}.items():
        tone(tmp_path / f"audio/0{number % 10}/{number}.mp3")
        (tmp_path / f"autotagging-{split}.tsv").write_text(
            f"{JAMENDO_HEADER}track_{number}\tartist_1\talbum_2\t0{number % 10}/{number}.mp3\t9.9"
            "\tgenre---rock\tmood/theme---dark\tinstrument---bass\n"
        )
    rows = by_id(adapt("mtg_jamendo", tmp_path).rows)
    assert [rows[f"track_{n}"].split for n in (101, 202, 303)] == ["train", "val", "test"]
    assert rows["track_101"].labels == ("rock", "dark", "bass")
    assert rows["track_101"].captions == ("rock, dark, bass",)
    assert rows["track_101"].source == "labels"


def test_mtg_jamendo_without_splits_keeps_an_artist_together(tmp_path: Path):
    lines = []
    (tmp_path / "00").mkdir()
    for number in range(120):
        (tmp_path / f"00/{number}.low.mp3").write_bytes(b"only looked for")
        lines.append(f"track_{number}\tartist_{number % 40}\talbum_1\t00/{number}.mp3\t9.9\tgenre---rock")
    table = tmp_path / "autotagging_genre.tsv"
    table.write_text(JAMENDO_HEADER + "\n".join(lines))
    rows = adapt("mtg_jamendo", table).rows
    assert {row.audio.name for row in rows} == {f"{number}.low.mp3" for number in range(120)}
    splits = {row.extra["artist_id"]: row.split for row in rows}
    assert all(splits[row.extra["artist_id"]] == row.split for row in rows)
    assert len(set(splits.values())) > 1


def test_magnatagatune_splits_by_folder_and_drops_what_is_empty_or_untagged(tmp_path: Path):
    lines = ['"clip_id"\t"no voice"\t"harp"\t"mp3_path"']
    for place, folder in enumerate("0bcdf"):
        tone(tmp_path / f"{folder}/{place}.mp3")
        lines.append(f'"{place}"\t"1"\t"{place % 2}"\t"{folder}/{place}.mp3"')
    tone(tmp_path / "0/untagged.mp3")
    (tmp_path / "0/empty.mp3").touch()
    lines += ['"8"\t"0"\t"0"\t"0/untagged.mp3"', '"9"\t"1"\t"1"\t"0/empty.mp3"']
    (tmp_path / "annotations_final.csv").write_text("\n".join(lines))
    adapted = adapt("magnatagatune", tmp_path)
    assert [row.split for row in adapted.rows] == ["train", "train", "val", "test", "test"]
    assert adapted.rows[1].captions == ("no voice, harp",)
    assert adapted.rows[0].labels == ("no voice",)
    assert (adapted.without_text, adapted.without_audio) == (["8"], ["9"])


def test_the_most_frequent_labels_are_kept_in_labels_and_tag_lists(tmp_path: Path):
    lines = ["clip_id\tharp\tloud\tpiano\tmp3_path"]
    for place, given in enumerate(("1 1 1", "1 0 1", "1 0 0", "0 1 1", "0 1 1", "0 1 1")):
        lines.append("\t".join([str(place), *given.split(), f"0/{place}.mp3"]))
    for place in range(3):  # of these alone the harp would be the most frequent
        tone(tmp_path / f"0/{place}.mp3")
    (tmp_path / "annotations_final.csv").write_text("\n".join(lines))
    adapted = adapt("magnatagatune", tmp_path, top_labels=2)
    assert [(row.labels, row.captions) for row in adapted.rows] == [
        (("loud", "piano"), ("loud, piano",)),
        (("piano",), ("piano",)),
    ]
    assert (adapted.without_text, adapted.without_audio) == (["2"], ["3", "4", "5"])
    with pytest.raises(AdapterError, match="top_labels is 0; expected at least 1"):
        adapt("magnatagatune", tmp_path, top_labels=0)


def test_synonyms_of_magnatagatune_may_be_merged_before_the_most_frequent_are_taken(tmp_path: Path):
    assert len(MERGED_INTO) == 54  # of the 188 tags, which leaves the 134 that papers count
    assert not set(MERGED_INTO) & set(SYNONYMS)
    lines = ["clip_id\tno vocals\tbeats\tharp\tbeat\tinstrumental\tmp3_path"]
    for place, given in enumerate(("1 1 0 0 1", "0 1 1 1 0", "0 0 1 0 0", "0 0 1 0 0", "0 1 0 0 0", "0 0 0 1 0")):
        lines.append("\t".join([str(place), *given.split(), f"0/{place}.mp3"]))
        tone(tmp_path / f"0/{place}.mp3")
    (tmp_path / "annotations_final.csv").write_text("\n".join(lines))
    rows = adapt("magnatagatune_merged", tmp_path).rows
    assert [row.labels for row in rows][:3] == [("no singer", "beat"), ("beat", "harp"), ("harp",)]
    assert rows[0].captions == ("no singer, beat",)
    of_one = [row.labels for row in adapt("magnatagatune_merged", tmp_path, top_labels=1).rows]
    assert of_one == [("beat",)] * 4  # as two tags neither would be the most frequent
    assert {row.labels for row in adapt("magnatagatune", tmp_path, top_labels=1).rows} == {("beats",)}


def test_clips_without_a_frequent_tag_may_stay_as_negatives(tmp_path: Path, capsys: pytest.CaptureFixture):
    lines = ["clip_id\tharp\tloud\tmp3_path"]
    for place, given in enumerate(("1 1", "1 0", "0 1", "0 0", "1 0")):
        lines.append("\t".join([str(place), *given.split(), f"d/{place}.mp3"]))
    for place in range(4):
        tone(tmp_path / f"d/{place}.mp3")
    (tmp_path / "d/4.mp3").touch()
    (tmp_path / "annotations_final.csv").write_text("\n".join(lines))
    out = tmp_path / "manifest.jsonl"
    command = ["adapt", "magnatagatune", str(tmp_path), "--out", str(out), "--top-labels", "1"]
    assert main(command) == 0
    assert "1 without a recording, 2 without a text" in capsys.readouterr().out
    assert main([*command, "--keep-unlabelled"]) == 0
    said = capsys.readouterr().out
    assert "1 without a recording, 0 without a text" in said
    assert "kept: 2 without any of the labels" in said
    rows = read_manifest(out, split="test", having="labels")
    assert [(row.track_id, row.labels, row.captions) for row in rows] == [
        ("0", ("harp",), ("harp",)),
        ("1", ("harp",), ("harp",)),
        ("2", (), ()),
        ("3", (), ()),
    ]
    assert [row.track_id for row in read_manifest(out, having="captions")] == ["0", "1"]
    out.write_text(out.read_text() + json.dumps({"audio": "d/0.mp3", "track_id": "silent about labels"}))
    assert len(read_manifest(out)) == 5
    assert len(read_manifest(out, having="labels")) == 4


def test_tracks_of_a_set_without_labels_lack_none(song_describer: Path):
    with pytest.raises(AdapterError, match="song_describer has no labels, so keep_unlabelled has no meaning"):
        adapt("song_describer", song_describer, keep_unlabelled=True)
    with pytest.raises(AdapterError, match="song_describer has no labels, so top_labels has no meaning"):
        adapt("song_describer", song_describer, top_labels=50)


MUSAV_PAIRS = {
    "arousal": [
        {"pairid": "aa-bb", "higher_value": "a", "agreement": "full-agreement", "triplet_consistency": "consistent"},
        {
            "pairid": "bb-cc",
            "higher_value": "ab",
            "agreement": "majority-agreement",
            "triplet_consistency": "consistent",
        },
        {"pairid": "cc-gone", "higher_value": "b", "agreement": "full-agreement", "triplet_consistency": "incomplete"},
    ],
    "valence": [
        {"pairid": "aa-cc", "higher_value": "b", "agreement": "full-agreement", "triplet_consistency": "incomplete"}
    ],
}


@pytest.fixture
def musav(tmp_path: Path) -> Path:
    """Its repository, unpacked recordings beside the judgments; a line as Python prints it, as some of the set are."""
    for track in ("aa", "bb", "cc"):
        tone(tmp_path / f"data/audio_chunks/001/{track[:2]}/{track}.mp3")
    (tmp_path / "data/annotations").mkdir()
    for attribute, pairs in MUSAV_PAIRS.items():
        lines = [repr(pair) if i == 1 else json.dumps(pair) for i, pair in enumerate(pairs)]
        (tmp_path / f"data/annotations/annotations.{attribute}.all.agreement.gt").write_text("\n".join([*lines, ""]))
    return tmp_path


def test_musav_becomes_tracks_and_the_pairs_that_compare_them(musav: Path, capsys: pytest.CaptureFixture):
    out = musav / "made/manifest.jsonl"
    assert main(["adapt", "musav", str(musav), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "3 tracks" in said
    assert "1 without a recording, 0 without a text" in said
    assert f"3 pairs of tracks in {musav}/made/manifest.comparisons.jsonl" in said
    rows = read_manifest(out, split="test")
    assert {row.track_id: row.audio.stem for row in rows} == {track: track for track in ("aa", "bb", "cc")}
    assert not any(row.captions or row.is_labelled for row in rows)
    full = ("full agreement", "consistent triplet", "consistent triplet, full agreement")
    assert read_comparisons(musav / "made/manifest.comparisons.jsonl", rows=rows) == [
        Comparison(0, 1, "arousal", "first", full),
        Comparison(1, 2, "arousal", "equal", ("majority agreement", "consistent triplet")),
        Comparison(0, 2, "valence", "second", ("full agreement",)),
    ]
    part = musav / "data/annotations/annotations.valence.all.agreement.gt"
    for root in (musav / "data", musav / "data/annotations", part):
        assert len(adapt("musav", root, audio=musav / "data/audio_chunks").comparisons) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("{'pairid': ", r"arousal\.all\.agreement\.gt, line 1: got .*; expected one object a line"),
        ("[]", r"line 1: got '\[\]'; expected a pairid of two ids, and triplet_consistency"),
        ({"pairid": "aabb"}, "line 1: got .*; expected a pairid of two ids, and triplet_consistency"),
        ({"higher_value": "undefined"}, "line 1: higher_value is 'undefined'; expected a or b or ab"),
        ({"agreement": "disagreement"}, "line 1: agreement is 'disagreement'; expected full-agreement or majority-"),
    ],
)
def test_a_line_that_is_no_pair_of_musav_is_named(musav: Path, change: str | dict, message: str):
    line = change if isinstance(change, str) else json.dumps(MUSAV_PAIRS["arousal"][0] | change)
    (musav / "data/annotations/annotations.arousal.all.agreement.gt").write_text(line)
    with pytest.raises(AdapterError, match=message):
        adapt("musav", musav)


def test_pairs_of_musav_that_lack_a_recording_are_no_evaluation(musav: Path):
    (musav / "one").mkdir()
    tone(musav / "one/aa.mp3")
    with pytest.raises(AdapterError, match=r"no pair of musav has both its recordings in .*one; give the folder"):
        adapt("musav", musav, audio=musav / "one")


GTZAN = {"blues.00012": "test", "blues.00000": "val", "rock.00001": "train"}


@pytest.fixture
def gtzan(tmp_path: Path) -> Path:
    """A clip of each part, one that the split leaves out, and one that is not the WAV that it should be."""
    for name in (*GTZAN, "jazz.00033"):
        tone(tmp_path / f"genres_original/{name.partition('.')[0]}/{name}.wav")
    (tmp_path / "genres_original/jazz/jazz.00054.wav").write_bytes(bytes(1_000))
    return tmp_path


def test_gtzan_takes_the_fault_filtered_split_and_its_folders_as_labels(gtzan: Path):
    adapted = adapt("gtzan", gtzan)
    rows = by_id(adapted.rows)
    assert {name: row.split for name, row in rows.items()} == GTZAN
    assert rows["rock.00001"].labels == rows["rock.00001"].captions == ("rock",)
    assert rows["rock.00001"].audio == gtzan / "genres_original/rock/rock.00001.wav"
    assert adapted.undecodable == ["jazz.00054"]
    assert len(adapted.without_audio) == 930 - 4
    assert Counter(row.split for row in read_gtzan(gtzan, audio=gtzan, seed=0)) == {
        "train": 443,
        "val": 197,
        "test": 290,
    }


def test_gtzan_whole_is_split_by_seed(gtzan: Path):
    rows = by_id(adapt("gtzan_all", gtzan, seed=40).rows)
    assert set(rows) == {*GTZAN, "jazz.00033"}
    assert {name: row.split for name, row in rows.items()} == {name: seeded_split(name, seed=40) for name in rows}
    assert rows["jazz.00033"].labels == ("jazz",)
    tone(gtzan / "genres/pop/pop.00001.au")
    shutil.rmtree(gtzan / "genres_original")
    assert [row.track_id for row in adapt("gtzan_all", gtzan).rows] == ["pop.00001"]


def test_a_file_of_gtzan_that_does_not_decode_is_named_and_left_out(gtzan: Path, capsys: pytest.CaptureFixture):
    out = gtzan / "manifest.jsonl"
    assert main(["adapt", "gtzan", str(gtzan), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "left out: 1 that cannot be decoded (jazz.00054)" in said
    assert "fault-filtered (Kereliuk et al. 2015)" in said
    assert "unreadable" not in check_manifest(out).counts()
    assert "few artists a genre (Sturm 2013)" in read_manifest(out, split="test")[0].extra["note"]


def test_audioset_names_its_labels(tmp_path: Path):
    head = "# Segments csv created\n# num_ytids=1\n# YTID, start_seconds, end_seconds, positive_labels\n"
    (tmp_path / "class_labels_indices.csv").write_text(
        'index,mid,display_name\n0,/m/04rlf,"Music"\n1,/m/0342h,"Guitar"\n2,/m/x,"Baby cry, infant cry"\n'
    )
    (tmp_path / "eval_segments.csv").write_text(head + 'aaaaaaaaaaa, 0.000, 10.000, "/m/04rlf,/m/0342h"\n')
    (tmp_path / "balanced_train_segments.csv").write_text(head + '--bbbbbbbbb, 0.000, 10.000, "/m/x"\n')
    tone(tmp_path / "audio/Yaaaaaaaaaaa.wav"), tone(tmp_path / "audio/--bbbbbbbbb_0.000.flac")
    rows = by_id(adapt("audioset", tmp_path).rows)
    assert rows["aaaaaaaaaaa"].labels == ("Music", "Guitar")
    assert rows["aaaaaaaaaaa"].split == "test"
    assert rows["--bbbbbbbbb"].captions == ("Baby cry, infant cry",)
    (tmp_path / "eval_segments.csv").write_text(head + 'aaaaaaaaaaa, 0.000, 10.000, "/m/nope"\n')
    with pytest.raises(AdapterError, match=r"line 4: .* does not name the label '/m/nope'"):
        adapt("audioset", tmp_path)


def test_labels_can_be_a_text_each(tmp_path: Path, song_describer: Path, capsys: pytest.CaptureFixture):
    root = tmp_path / "tagged"
    tone(root / "0/1.mp3"), tone(root / "0/2.mp3")
    table = ["clip_id\tno voice\tharp\tmp3_path", "1\t1\t1\t0/1.mp3", "2\t0\t1\t0/2.mp3"]
    (root / "annotations_final.csv").write_text("\n".join(table))
    out = tmp_path / "manifest.jsonl"
    assert main(["adapt", "magnatagatune", str(root), "--out", str(out), "--labels-apart"]) == 0
    assert [row.captions for row in read_manifest(out)] == [("no voice", "harp"), ("harp",)]
    assert [row.labels for row in read_manifest(out)] == [("no voice", "harp"), ("harp",)]
    out.unlink()
    assert main(["adapt", "song_describer", str(song_describer), "--out", str(out), "--labels-apart"]) == 2
    assert "no text of song_describer is a list of labels; leave --labels-apart out" in capsys.readouterr().err
    assert not out.exists()


def test_a_track_gets_the_titles_of_its_playlists(tmp_path: Path):
    tone(tmp_path / "music/Björk/one.wav"), tone(tmp_path / "music/two.wav")
    lists = tmp_path / "lists"
    lists.mkdir()
    (lists / "Sunday morning.m3u8").write_text("#EXTM3U\n../music/Björk/one.wav\n../music/two.wav\n", "utf-8")
    (lists / "x.m3u").write_bytes("#PLAYLIST:Gym\r\nBjörk\\one.wav\r\nhttp://radio.example/live\r\n".encode("cp1252"))
    rows = by_id(adapt("playlists", lists, audio=tmp_path / "music").rows)
    assert rows["Björk/one.wav"].captions == ("Sunday morning", "Gym")
    assert rows["two.wav"].captions == ("Sunday morning",)
    assert rows["two.wav"].source == "playlist"


def test_seeded_splits_are_90_5_5_and_stay_when_tracks_are_added():
    counts = Counter(seeded_split(str(key), seed=3) for key in range(20_000))
    # Three standard deviations of a binomial draw: 127 for 90 %, 92 for 5 %.
    assert abs(counts["train"] - 18_000) < 127
    assert abs(counts["val"] - 1_000) < 92
    assert [seeded_split(str(key), seed=3) for key in range(50)] != [
        seeded_split(str(key), seed=4) for key in range(50)
    ]


def test_a_manifest_is_read_back_as_it_was_written(tmp_path: Path):
    (tmp_path / "real/music").mkdir(parents=True)
    (tmp_path / "elsewhere/deep").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere/deep")  # ".." from here is not tmp_path
    tone(tmp_path / "real/music/é.wav")
    row = Row(tmp_path / "real/music/é.wav", ("a", "b"), "1", "val", ("jazz",), "labels", {"artist_id": "7"})
    write_manifest(tmp_path / "link/manifest.jsonl", [row])
    (read,) = read_manifest(tmp_path / "link/manifest.jsonl")
    assert read.audio.samefile(row.audio)
    assert (read.captions, read.split, read.labels, read.source, read.extra) == (
        row.captions,
        "val",
        ("jazz",),
        "labels",
        {"artist_id": "7"},
    )
    assert json.loads((tmp_path / "link/manifest.jsonl").read_text())["audio"] == "../../real/music/é.wav"


def test_manifests_of_two_sources_are_merged_for_the_mixture(song_describer: Path, capsys: pytest.CaptureFixture):
    short, long, merged = (song_describer / place for place in ("a/m.jsonl", "b/m.jsonl", "c/d/m.jsonl"))
    assert main(["adapt", "song_describer", str(song_describer), "--out", str(long)]) == 0
    assert main(["adapt", "song_describer", str(song_describer), "--out", str(short), "--source", "short_form"]) == 0
    tone(song_describer / "a/more.wav")
    more = {"audio": "more.wav", "captions": ["More"], "split": "val"}
    short.write_text(short.read_text() + json.dumps(more))
    capsys.readouterr()
    assert main(["merge", str(short), str(long), "--out", str(merged)]) == 0
    assert "3 rows" in (said := capsys.readouterr().out)
    assert "1 short_form, 1 no source, 1 long_form" in said
    rows = by_id(read_manifest(merged))
    assert {track_id: (row.source, row.split) for track_id, row in rows.items()} == {
        "1:1004034": ("short_form", "test"),
        "more.wav": ("", "val"),
        "2:1004034": ("long_form", "test"),
    }
    assert rows["1:1004034"].audio.samefile(rows["2:1004034"].audio)
    assert rows["more.wav"].audio.samefile(song_describer / "a/more.wav")
    assert main(["merge", str(short), str(long), "--out", str(long)]) == 2
    assert "choose another file" in capsys.readouterr().err


@pytest.mark.parametrize("name", ADAPTERS)
def test_a_wrong_root_is_named_with_what_was_looked_for(name: str, tmp_path: Path):
    with pytest.raises(AdapterError, match=rf"{tmp_path} holds no .*"):
        adapt(name, tmp_path)


def test_what_cannot_be_adapted_is_one_sentence(tmp_path: Path, song_describer: Path):
    with pytest.raises(AdapterError, match="unknown data set 'fma'; expected one of audioset, "):
        adapt("fma", tmp_path)
    with pytest.raises(AdapterError, match=r"no folder .*nowhere"):
        adapt("gtzan", tmp_path / "nowhere")
    with pytest.raises(AdapterError, match=r"no audio folder .*nowhere"):
        adapt("song_describer", tmp_path, audio=tmp_path / "nowhere")
    (tmp_path / "other").mkdir()
    with pytest.raises(AdapterError, match=r"none of the 2 recordings .* is in .*other .*'1004034'.* --audio"):
        adapt("song_describer", song_describer, audio=tmp_path / "other")
    (tmp_path / "song_describer.csv").write_text("caption_id,caption\n")
    with pytest.raises(AdapterError, match="has no column track_id, is_valid_subset"):
        adapt("song_describer", tmp_path)
    (tmp_path / "dataset_val.json").write_text('[{"audio_id": 1}]')
    with pytest.raises(AdapterError, match=r"dataset_val\.json, entry 0: expected an object with audio_id, caption"):
        adapt("muscall", tmp_path)
    (tmp_path / "autotagging.tsv").write_text(JAMENDO_HEADER + "track_1\tartist_1\n")
    with pytest.raises(AdapterError, match=r"autotagging\.tsv, line 2: 2 cells"):
        adapt("mtg_jamendo", tmp_path)


def test_the_command_writes_a_manifest_and_says_what_it_left_out(song_describer: Path, capsys: pytest.CaptureFixture):
    out = song_describer / "made/manifest.jsonl"
    assert main(["adapt", "song_describer", str(song_describer), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "1 track" in said
    assert "1 without a recording" in said
    assert read_manifest(out, split="test")[0].audio.resolve() == song_describer / "audio/34/1004034.2min.mp3"
    assert main(["adapt", "gtzan", str(song_describer / "made"), "--out", str(out)]) == 2
    assert capsys.readouterr().err.startswith("error: ")


@pytest.mark.parametrize(
    "content",
    [b"caption_id,caption\n", b'[{"audio_id": 1}]', b'{"pairid": "aa-bb"}\n', b"\xff\xfe\x00"],
    ids=("table", "list", "lines", "bytes"),
)
def test_a_file_of_the_set_is_not_replaced_by_the_manifest(
    content: bytes, song_describer: Path, capsys: pytest.CaptureFixture
):
    own = song_describer / "own"
    own.write_bytes(content)
    assert main(["adapt", "song_describer", str(song_describer), "--out", str(own)]) == 2
    assert "choose another file, so that nothing is lost" in capsys.readouterr().err
    assert own.read_bytes() == content


def test_a_manifest_is_replaced_by_one_that_is_made_again(song_describer: Path):
    command = ["adapt", "song_describer", str(song_describer), "--out", str(song_describer / "manifest.jsonl")]
    assert main(command) == main(command) == 0
    (song_describer / "manifest.jsonl").write_bytes(b"")
    assert main(command) == 0
    assert read_manifest(song_describer / "manifest.jsonl")


def test_the_pairs_of_musav_replace_no_file_of_another_kind(musav: Path, capsys: pytest.CaptureFixture):
    own = musav / "manifest.comparisons.jsonl"
    own.write_text('{"audio": "aa.mp3"}')
    assert main(["adapt", "musav", str(musav), "--out", str(musav / "manifest.jsonl")]) == 2
    assert f"--out is {own}, whose first line is not an object with 'first'" in capsys.readouterr().err
    assert not (musav / "manifest.jsonl").exists()
