"""A folder of parts: what it holds, who may write there, and the library that it becomes. Without Ray."""

import json
import re
import shutil
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import client
from client import LibraryError, ModelMismatch, QueryError
from client.bulk.__main__ import main as bulk
from client.cli import main
from client.encoders import EncoderSpec
from client.index.catalogue import Catalogue
from client.index.maintenance import export_to_parquet, import_library, verify
from client.index.records import FailedFile
from client.index.store import open_store
from tests.client.test_catalogue import DIM, MODEL, make, new_track, unit
from tests.client.test_stores import milvus_address

pq = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed", exc_type=ImportError)
output = pytest.importorskip("client.bulk.output")

SPEC = EncoderSpec(16_000, 160_000, DIM, 77, MODEL.name, MODEL.fingerprint)
PROBES = {"music": unit(seed=1, count=3), "unrelated": unit(seed=2, count=2)}
BAD = FailedFile("/music/bad.wav", 1, 2, "nothing in it decodes as audio", 3)


def begun(folder: Path, *, spec: EncoderSpec = SPEC) -> "output.PartsFolder":
    parts = output.open_output(f"parquet://{folder}", spec=spec)
    parts.begin(PROBES)
    return parts


def write(parts: "output.PartsFolder", names: Sequence[str], *, failed: Sequence[FailedFile] = ()) -> None:
    tracks = [new_track(name, seed=ord(name[0]) - ord("a")) for name in names]
    group = [track.file.path for track in tracks] + [file.path for file in failed]
    parts.write(tracks, failed=failed, group=group)


def parts_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("part-*.parquet"))


def test_it_says_what_it_holds(tmp_path: Path) -> None:
    parts = begun(tmp_path / "out")
    assert parts.done() == output.Done()
    write(parts, "ab", failed=[BAD])
    write(parts, "c")
    parts.end()
    done = begun(tmp_path / "out").done()
    assert done.paths == {"/music/a.wav", "/music/b.wav", "/music/c.wav"}
    assert done.failed == {BAD.path: BAD}


def test_a_group_that_is_made_again_replaces_itself(tmp_path: Path) -> None:
    parts = begun(tmp_path / "out")
    write(parts, "ab")
    before = pq.read_table(tmp_path / "out" / parts_in(tmp_path / "out")[0])
    write(parts, "ba")
    [name] = parts_in(tmp_path / "out")
    again = pq.read_table(tmp_path / "out" / name)
    assert again.sort_by("path").column("track_id").equals(before.sort_by("path").column("track_id"))
    # Of one file nothing is kept this time: it is the same group all the same.
    parts.write([new_track("a")], failed=[], group=["/music/a.wav", "/music/b.wav"])
    assert parts_in(tmp_path / "out") == [name]
    assert parts.done().paths == {"/music/a.wav"}


def test_a_run_that_was_taken_for_dead_adds_nothing_more(tmp_path: Path) -> None:
    former = begun(tmp_path / "out")
    write(former, "a")
    now = begun(tmp_path / "out")
    with pytest.raises(LibraryError, match=r"another run now writes to .*out, or"):
        write(former, "b")
    write(now, "b")
    former.end()
    write(now, "c")
    now.end()
    assert now.done().paths == {f"/music/{name}.wav" for name in "abc"}
    assert [path.name for path in (tmp_path / "out").iterdir() if path.is_dir()] == []


def test_what_cannot_be_an_output(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other/song.wav").write_bytes(b"")
    with pytest.raises(LibraryError, match=r"other holds other files, such as song.wav: name a new folder"):
        begun(tmp_path / "other")
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["song.wav"]
    with pytest.raises(LibraryError, match=r"cannot use .*song.wav: File exists"):
        begun(tmp_path / "other/song.wav")
    begun(tmp_path / "out")
    with pytest.raises(ModelMismatch, match=r"with the model tiny \(f{64}\), but the encoder is new \(d{64}\)"):
        begun(tmp_path / "out", spec=replace(SPEC, model_name="new", fingerprint="d" * 64))
    for to in ("", "parquet://", str(tmp_path), "s3://bucket"):
        with pytest.raises(QueryError, match="expected parquet://FOLDER or milvus://"):
            output.open_output(to, spec=SPEC)
    with pytest.raises(QueryError, match="are written into a folder, not into a store: name a folder"):
        output.open_output("parquet://s3://bucket/vectors", spec=SPEC)
    with pytest.raises(LibraryError, match="only one process can open: name a Milvus server"):
        output.open_output("milvus:///folder/file.db", spec=SPEC)


def test_a_part_of_another_model_is_not_taken_for_done(tmp_path: Path) -> None:
    other = begun(tmp_path / "other", spec=replace(SPEC, model_name="new", fingerprint="d" * 64))
    write(other, "ab")
    parts = begun(tmp_path / "out")
    write(parts, "c")
    [part] = parts_in(tmp_path / "other")
    shutil.copy(tmp_path / "other" / part, tmp_path / "out")
    told = rf"{part} was made with the model new \(d{{64}}\), but the encoder is tiny \(f{{64}}\): remove that file"
    with pytest.raises(ModelMismatch, match=told):
        parts.done()
    (tmp_path / "out" / part).unlink()
    assert parts.done().paths == {"/music/c.wav"}


def test_a_part_that_is_damaged_or_there_twice_is_named(tmp_path: Path) -> None:
    parts = begun(tmp_path / "out")
    write(parts, "ab")
    write(parts, "bc")
    with pytest.raises(LibraryError, match=r"holds /music/b.wav twice, the second time in part-.*: remove that file"):
        parts.done()
    path = tmp_path / "out" / parts_in(tmp_path / "out")[0]
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(LibraryError, match=f"{path.name} is not complete.*; or remove that file, and run this command"):
        parts.done()


def test_the_parts_become_a_library(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parts = begun(tmp_path / "out")
    mended = replace(BAD, path="/music/c.wav")
    write(parts, "ab", failed=[BAD, mended])
    write(parts, "c")
    parts.end()
    assert main(["import", str(tmp_path / "library"), str(tmp_path / "out"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"problems": [], "tracks": 3, "lacking": 0}
    assert verify(tmp_path / "library").problems == []
    catalogue = make(tmp_path / "added", *"abc")
    with closing(Catalogue(tmp_path / "library")) as imported, closing(catalogue) as added:
        assert imported.model == MODEL
        assert imported.failed() == [replace(BAD, ctime_ns=0)]
        np.testing.assert_array_equal(imported.probes("music"), PROBES["music"])
        for name in "abc":
            ours, theirs = (store.by_path(f"/music/{name}.wav") for store in (imported, added))
            assert (ours.tags, ours.duration_s) == (theirs.tags, theirs.duration_s)
            np.testing.assert_array_equal(imported.vector(ours.label), added.vector(theirs.label))
            for one, other in zip(imported.windows(ours.label), added.windows(theirs.label), strict=True):
                np.testing.assert_array_equal(one, other)
    export_to_parquet(tmp_path / "library", tmp_path / "x.parquet", progress=False)
    assert pq.read_table(tmp_path / "x.parquet").column("number").to_pylist() == [1, 2, 3]


def test_what_are_no_parts_of_one_library(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(LibraryError, match=r"empty holds no Parquet files: name one"):
        import_library(tmp_path / "empty", tmp_path / "new")
    for name, spec in (("one", SPEC), ("other", replace(SPEC, fingerprint="d" * 64))):
        parts = begun(tmp_path / name, spec=spec)
        write(parts, name)
        parts.end()
    shutil.copy(tmp_path / "other" / parts_in(tmp_path / "other")[0], tmp_path / "one")
    with pytest.raises(LibraryError, match=r"made with the model tiny \([df]{64}\).*one library has one model"):
        import_library(tmp_path / "one", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_collection_of_milvus(tmp_path: Path) -> None:
    collection = output.Collection(milvus_address(tmp_path), spec=SPEC)
    collection.begin(PROBES)
    for _ in range(2):
        collection.write([new_track("a"), new_track("b")], failed=[BAD], group=[])
    done = collection.done()
    assert done.paths == {"/music/a.wav", "/music/b.wav"}
    assert done.failed == {BAD.path: BAD}
    with pytest.raises(ModelMismatch, match="another collection"):
        output.Collection(collection.name, spec=replace(SPEC, fingerprint="d" * 64)).begin(PROBES)


def test_a_collection_that_goes_over_to_another_model(tmp_path: Path) -> None:
    collection = output.Collection(milvus_address(tmp_path), spec=SPEC)
    collection.begin(PROBES)
    with (
        closing(open_store(collection.name)) as store,
        closing(store.beside(MODEL._replace(fingerprint="d" * 64))) as b,
    ):
        b.make_current()
    with pytest.raises(ModelMismatch, match=r"made with the model tiny \(d{64}\), but the encoder is tiny \(f{64}\)"):
        write(collection, "ab")
    with closing(open_store(collection.name)) as store:
        assert len(store) == 0


# -- without Ray ---------------------------------------------------------------------------------------


def test_without_ray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delitem(sys.modules, "client.bulk.pipeline", raising=False)
    monkeypatch.setitem(sys.modules, "ray", None)
    assert bulk([str(tmp_path), "--to", f"parquet://{tmp_path / 'out'}"]) == 2
    err = capsys.readouterr().err
    assert re.fullmatch(r"client.bulk: this command needs Ray \(.*\): pip install 'musicsearch\[ray\]'\n", err)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("sources", "to", "said"),
    [
        (["MUSIC", "MUSIC/none"], "parquet://out", r"no file or folder \S+/none: name what this machine"),
        (["s3://bucket", "MUSIC/song.mp3"], "parquet://out", r"no file or folder \S+/song.mp3: name"),
        (["s3://key:secret@bucket"], "parquet://out", "the s3:// URL carries a user name or password"),
        (["MUSIC"], "vectors", "--to is 'vectors', expected parquet://FOLDER or milvus://"),
        (["MUSIC"], "parquet://s3://bucket/vectors", "are written into a folder, not into a store"),
        (["MUSIC"], "milvus:///folder/file.db", "only one process can open"),
        (["MUSIC"], "milvus://host:99999/x", "milvus://host:99999/x is not the address of a library"),
    ],
)
def test_what_can_be_known_is_told_before_ray_is_imported(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    sources: list[str],
    to: str,
    said: str,
) -> None:
    if "99999" in to:
        pytest.importorskip("pymilvus", reason="needs the extra [milvus]")
    monkeypatch.setitem(sys.modules, "client.bulk.pipeline", None)  # so that its import fails
    assert bulk([*(source.replace("MUSIC", str(tmp_path)) for source in sources), "--to", to]) == 2
    assert re.fullmatch(rf"client\.bulk: .*{said}.*\n", capsys.readouterr().err)


def test_nothing_else_of_the_client_imports_it() -> None:
    files = [path for path in Path(client.__file__).parent.rglob("*.py") if path.parent.name != "bulk"]
    assert len(files) > 50
    importing = re.compile(r"^\s*(import ray|from ray|from \.+bulk|from \. import bulk)\b", re.MULTILINE)
    assert [path.name for path in files if importing.search(path.read_text())] == []
