"""Triplets from an ontology of our own making, in AudioSet's layout, and from the published one where it is there."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from train.data.__main__ import main
from train.data.adapters import AdapterError
from train.data.adapters.audioset_ontology import NEGATIVES, make_ontology_triplets, music_classes, read_ontology
from train.evaluate.triplet import read_triplets

PUBLISHED = Path(__file__).parents[3] / "shared/papers/audioset_ontology.json"


def sound(name: str, *children: str, **more: Any) -> dict:
    entry = {"id": f"/{name}", "name": name, "child_ids": [f"/{child}" for child in children], "restrictions": []}
    return entry | {"description": f"What a {name} is.", "citation_uri": "https://example.org"} | more


def ontology(**changes: dict) -> list[dict]:
    """Seven music classes that count, two of them of one description, among others that do not."""
    entries = [
        sound("Speech", "Song"),
        sound("Music", "Group", "Lyre", "Drone"),
        sound("Group", "Harp", "Song", "Fiddle", restrictions=["abstract"]),
        sound("Harp", "Lyre"),
        sound("Lyre"),
        sound("Fiddle", "Viol", "Rebec", "Hurdy-gurdy"),
        sound("Viol"),
        sound("Rebec", description="What a Viol is. "),
        sound("Hurdy-gurdy"),
        sound("Song"),
        sound("Drone", "Mood", restrictions=["blacklist"]),
        sound("Mood", citation_uri="", description="Music of a mood."),
        sound("Zither", description=""),
        sound("Fiddlestick"),
    ]
    entries[2]["child_ids"].append("/Zither")
    return [entry | changes.get(entry["name"], {}) for entry in entries]


COUNTED = ["Harp", "Song", "Fiddle", "Lyre", "Viol", "Rebec", "Hurdy-gurdy"]


def save(path: Path, content: object) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def test_the_classes_are_those_below_music_that_are_described_and_not_restricted(tmp_path: Path):
    path = save(tmp_path / "ontology.json", ontology())
    classes = music_classes(read_ontology(path), path=path)
    assert sorted(one.name for one in classes) == sorted(COUNTED)


def test_each_class_has_five_negatives_that_say_something_else(tmp_path: Path):
    save(tmp_path / "ontology.json", ontology())
    triplets = make_ontology_triplets(tmp_path, seed=0)
    assert Counter(each["anchor"] for each in triplets) == dict.fromkeys(COUNTED, NEGATIVES)
    described = {f"What a {name} is." for name in COUNTED} - {"What a Rebec is."}
    for each in triplets:
        assert each["positive"] == ("What a Viol is." if each["anchor"] == "Rebec" else f"What a {each['anchor']} is.")
        assert each["negative"] in described - {each["positive"]}
    assert triplets == make_ontology_triplets(tmp_path, seed=0)
    assert triplets != make_ontology_triplets(tmp_path, seed=1)


def test_the_command_writes_what_the_protocol_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    source, out = save(tmp_path / "o.json", ontology()), tmp_path / "made/triplets.jsonl"
    assert main(["adapt", "audioset-ontology", str(source), "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"35 triplets of 7 anchors in {out}\n"
    triplets = read_triplets(out)
    assert len(triplets) == 35
    assert triplets[0][:2] == ("Lyre", "What a Lyre is.")
    for bad, message in {
        ("--out", str(source)): "choose another file, so that nothing is lost",
        ("--out", str(out), "--top-labels", "50"): "audioset_ontology has no recordings; leave out --top-labels",
        ("--out", str(out), "--audio", str(tmp_path)): "leave out --audio",
        ("--out", str(out), "--labels-apart"): "leave out --labels-apart",
        ("--out", str(tmp_path)): f"--out is the folder {tmp_path}; expected a file to write",
    }.items():
        assert main(["adapt", "audioset_ontology", str(source), *bad]) == 2
        assert message in capsys.readouterr().err
    assert main(["adapt", "audioset_ontology", str(tmp_path / "nowhere"), "--out", str(out)]) == 2
    assert "no file" in capsys.readouterr().err
    copy = save(tmp_path / "ontology.json", json.dumps(ontology(), indent=2))
    assert main(["adapt", "audioset_ontology", str(tmp_path), "--out", str(copy)]) == 2
    assert "is not an object with 'anchor'" in capsys.readouterr().err
    assert json.loads(source.read_text()) == json.loads(copy.read_text()) == ontology()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[{", r"ontology\.json is not JSON \(.*\); give AudioSet's ontology\.json"),
        pytest.param("[" * 100_000, r"ontology\.json is not JSON \(.*\); give AudioSet's ontology", id="deep"),
        ([sound("Music", "Harp"), sound("Harp", citation_uri="")], "no class below 'Music' is unrestricted and has a"),
        ([sound("Speech")], "none of its 1 classes is called 'Music'"),
        ({"id": "/m", "name": 3}, "class 0: expected an object with the texts 'id' and 'name'"),
        ([sound("", id="/m")], "class 0: expected an object with the texts 'id' and 'name'"),
        ([sound("Music"), {"name": "Harp", "child_ids": []}], "class 1: expected an object with the texts 'id'"),
        ([sound("Music", child_ids="/Harp")], "class 0, 'Music': child_ids is '/Harp'; expected a list of class ids"),
        ([sound("Music"), sound("Harp", id="/Music")], "class 1: /Music is also the id of 'Music'"),
        (ontology(Lyre={"child_ids": ["/gone"]}), "'Lyre' has the child /gone, which is not a class of the file"),
        (ontology(Lyre={"child_ids": ["/Harp"]}), r"is its own descendant \((Harp > Lyre > Harp|Lyre > Harp > Lyre)"),
        (ontology(Song={"citation_uri": ""}, Harp={"citation_uri": ""}), "'Lyre' has 4 other music classes"),
    ],
)
def test_a_file_that_is_no_ontology_is_one_sentence(tmp_path: Path, content: object, message: str):
    save(tmp_path / "ontology.json", content)
    with pytest.raises(AdapterError, match=message):
        make_ontology_triplets(tmp_path, seed=0)


def test_a_wrong_folder_is_named(tmp_path: Path):
    with pytest.raises(AdapterError, match=rf"{tmp_path} holds no ontology\.json"):
        make_ontology_triplets(tmp_path, seed=0)


def test_the_published_ontology_has_as_many_music_classes_as_mulan_takes():
    if not PUBLISHED.is_file():
        pytest.skip("needs AudioSet's ontology as shared/papers/audioset_ontology.json beside the checkout")
    everything = read_ontology(PUBLISHED)
    assert len(everything) == 632
    subtree, waiting = set(), ["Music"]
    named = {one.name: one for one in everything.values()}
    while waiting:
        subtree.add(name := waiting.pop())
        waiting += [everything[child].name for child in named[name].children]
    assert len(subtree) == 189
    assert sum(not named[name].restricted for name in subtree - {"Music"}) == 151
    assert len(named["Music genre"].children) == 25  # MuLan's Gen-25 has as many
    classes = music_classes(everything, path=PUBLISHED)
    assert len(classes) == 141
    assert {"Steelpan", "Choir", "Theme music", "Oboe"} < {one.name for one in classes}
    assert not {"Music", "Music genre", "Mellotron", "Angry music"} & {one.name for one in classes}
    triplets = make_ontology_triplets(PUBLISHED, seed=0)
    assert len(triplets) == 705
    assert all(each["positive"] != each["negative"] for each in triplets)
