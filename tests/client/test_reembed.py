"""A library goes over to another model and back, while others search it."""

import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from client import EncoderError, LibraryError, ModelMismatch, MusicSearch, QueryError
from client.cli import main
from client.encoders.local import LocalEncoder
from client.evaluation import rank
from client.index.maintenance import compact, drop_former
from client.index.store import is_milvus, open_store
from client.reembed import reembed
from tests.client.audio_files import tone, write_audio
from tests.client.test_catalogue import MODEL
from tests.client.test_stores import milvus_address
from tests.tiny_repository import TONES_HZ, build_tiny_repository


@pytest.fixture(params=["folder", "milvus"])
def library(request: pytest.FixtureRequest, tmp_path: Path, encoder: LocalEncoder, tones: Path) -> str:
    library = str(tmp_path / "library") if request.param == "folder" else milvus_address(tmp_path)
    with MusicSearch(library, encoder=encoder) as ms:
        ms.add(tones, progress=False)
    return library


@pytest.fixture
def address(tmp_path: Path, encoder: LocalEncoder, tones: Path) -> str:
    """Of a library in Milvus."""
    address = milvus_address(tmp_path)
    with MusicSearch(address, encoder=encoder) as ms:
        ms.add(tones, progress=False)
    return address


@pytest.fixture(scope="session")
def other(tmp_path_factory: pytest.TempPathFactory) -> LocalEncoder:
    return LocalEncoder(build_tiny_repository(tmp_path_factory.mktemp("other"), dim=24, seed=1), device="cpu")


def paths(ms: MusicSearch, query: str) -> list[str]:
    return [Path(hit.path).stem for hit in ms.search(query, k=3)]


def test_arguments_are_checked_before_anything_is_embedded(
    library: str, encoder: LocalEncoder, other: LocalEncoder
) -> None:
    with pytest.raises(ModelMismatch, match=r"the model of .* is tiny .*, not .*: name the former model"):
        reembed(library, other, former=other, queries=["low"], progress=False)
    with pytest.raises(QueryError, match="windows is 0, expected a whole number of at least 1"):
        reembed(library, other, windows=0, progress=False)
    with MusicSearch(library, encoder=encoder) as ms:
        assert ms.failed() == []


def test_there_and_back(library: str, tones: Path, encoder: LocalEncoder, other: LocalEncoder) -> None:
    with MusicSearch(library, encoder=encoder) as ms:
        before = ms.search("low", k=3)
        done = reembed(library, other, former=encoder, queries=["low", "high"], progress=False)
        assert (done.added.added + done.added.updated, done.lacking, done.is_current) == (3, 0, False)
        assert done.overlap == {"low": 1.0, "high": 1.0}  # three tracks of three
        assert ms.search("low", k=3) == before
        with pytest.raises(ModelMismatch):
            MusicSearch(library, encoder=other)

        assert reembed(library, other, switch=True, progress=False).is_current
        assert ms.search("low", k=3) == before  # this one was open when the library switched
        with pytest.raises(ModelMismatch, match="now uses another model than tiny: open"):
            ms.add(tones, progress=False)
    with pytest.raises(ModelMismatch):
        MusicSearch(library, encoder=encoder)
    with MusicSearch(library, encoder=other) as ms:
        assert paths(ms, "low")[0] == "low"
        assert [hit.track_id for hit in ms.search("low", k=3)] == [hit.track_id for hit in before]
        write_audio(tones / "new.wav", tone(TONES_HZ["high"], seconds=2))
        assert ms.add(tones, progress=False).added == 1

    back = reembed(library, encoder, switch=True, progress=False)
    assert (back.added.updated, back.is_current) == (1, True)  # only what was added since
    with MusicSearch(library, encoder=encoder) as ms:
        assert set(paths(ms, "high")[:2]) == {"high", "new"}
        np.testing.assert_array_equal(ms.search("low", k=1)[0].score, before[0].score)
    drop_former(library) if is_milvus(library) else compact(Path(library))
    with MusicSearch(library, encoder=encoder) as ms:
        assert len(ms.search("low", k=9)) == 4


def test_by_some_windows(library: str, other: LocalEncoder) -> None:
    assert reembed(library, other, windows=1, switch=True, progress=False).is_current
    with MusicSearch(library, encoder=other) as ms:
        assert [hit.start_s for hit in ms.search("low", k=9)] == [1.0, 1.0, 1.0]


class Interrupted:
    """Embeds six of the nine windows, then does something else."""

    device, batch_size = "cpu", 1

    def __init__(self, other: LocalEncoder, *, then: Callable[[], object]) -> None:
        self.spec, self.embed_texts = other.spec, other.embed_texts
        self._other, self._then, self._left = other, then, 6

    def embed_windows(self, waveforms: np.ndarray) -> np.ndarray:
        self._left -= 1
        if self._left == -1:
            self._then()
        return self._other.embed_windows(waveforms)


def fail() -> None:
    raise EncoderError("the server went away")


def test_it_goes_on_where_it_was(library: str, encoder: LocalEncoder, other: LocalEncoder) -> None:
    with pytest.raises(EncoderError, match="went away"):
        reembed(library, Interrupted(other, then=fail), switch=True, progress=False)
    with MusicSearch(library, encoder=encoder) as ms:
        assert paths(ms, "low")[0] == "low"
    done = reembed(library, other, switch=True, progress=False)
    assert 0 < done.added.updated < 3
    assert done.is_current


def test_a_file_that_is_gone_keeps_the_library_from_switching(
    library: str, tones: Path, encoder: LocalEncoder, other: LocalEncoder
) -> None:
    (tones / "low.wav").unlink()
    done = reembed(library, other, progress=False)
    assert (done.lacking, [Path(failed.path).name for failed in done.added.failed]) == (1, ["low.wav"])
    with pytest.raises(LibraryError, match="tiny has not embedded 1 tracks"):
        reembed(library, other, switch=True, progress=False)
    with MusicSearch(library, encoder=encoder) as ms:
        ms.remove(ms.search("low", k=1)[0].track_id)
    assert reembed(library, other, switch=True, progress=False).is_current


def test_a_file_that_has_changed_is_found_until_it_is_added_again(
    library: str, tones: Path, encoder: LocalEncoder, other: LocalEncoder
) -> None:
    write_audio(tones / "low.wav", tone(TONES_HZ["high"], seconds=2))
    done = reembed(library, other, progress=False)
    assert (done.added.added + done.added.updated, done.lacking) == (2, 1)
    assert [failed.reason for failed in done.added.failed] == ["has changed since it was added: add it again first"]
    with MusicSearch(library, encoder=encoder) as ms:
        assert paths(ms, "low")[0] == "low"
        assert (len(ms.search("low", k=9)), ms.failed()) == (3, [])
        assert ms.add(tones, progress=False).updated == 1
        assert set(paths(ms, "high")[:2]) == {"high", "low"}
    assert reembed(library, other, switch=True, progress=False).is_current


def test_what_changes_meanwhile_is_brought_over(
    library: str, tones: Path, encoder: LocalEncoder, other: LocalEncoder
) -> None:
    write_audio(tones / "gone.wav", tone(TONES_HZ["high"], seconds=2))
    with MusicSearch(library, encoder=encoder) as ms:
        ms.add(tones, progress=False)
        ids = {Path(hit.path).stem: hit.track_id for hit in ms.search("low", k=9)}
        ms.annotate({ids["low"]: {"mood": "calm", "bpm": 90}})
    assert reembed(library, other, progress=False).lacking == 0
    with MusicSearch(library, encoder=encoder) as ms:
        ms.annotate({ids["low"]: {"mood": "wild", "bpm": None}})
        ms.remove(ids["gone"])
        (tones / "gone.wav").unlink()
        (tones / "album/middle.flac").unlink()
        (tones / "bad.wav").write_bytes(b"RIFF" + bytes(100))
        assert ms.add(tones, progress=False).missing == 1
    assert reembed(library, other, switch=True, progress=False).is_current
    with MusicSearch(library, encoder=other) as ms:
        hits = {Path(hit.path).stem: hit for hit in ms.search("low", k=9)}
        assert {stem: hit.track_id for stem, hit in hits.items()} == {stem: ids[stem] for stem in hits}
        assert sorted(hits) == ["high", "low", "middle"]
        assert hits["low"].metadata == {"mood": "wild"}
        assert [track.path for track in ms.missing()] == [str(tones / "album/middle.flac")]
        assert [Path(failed.path).name for failed in ms.failed()] == ["bad.wav"]
        assert [hit.track_id for hit in ms.search("low", where={"mood": "wild"})] == [ids["low"]]


def test_both_models_are_measured(library: str, encoder: LocalEncoder, other: LocalEncoder) -> None:
    with closing(open_store(library)) as store:
        with pytest.raises(
            LibraryError, match=f"tiny has not embedded 3 tracks of {library}: run `music-search reembed"
        ):
            rank(store, other, ["low"])
        reembed(library, other, progress=False)
        for model in (encoder, other):
            assert len(rank(store, model, ["low"]).found["low"]) == 3


# -- Milvus alone --------------------------------------------------------------------------------------


def test_who_has_a_former_model_open_writes_nothing(address: str, encoder: LocalEncoder, other: LocalEncoder) -> None:
    with MusicSearch(address, encoder=encoder) as ms:
        (hit,) = ms.search("low", k=1)
        reembed(address, other, switch=True, progress=False)
        for write in (lambda: ms.annotate({hit.track_id: {"bpm": 1}}), lambda: ms.remove(hit.track_id)):
            with pytest.raises(ModelMismatch, match="now uses another model than tiny: open"):
                write()
        with pytest.raises(ModelMismatch, match="now uses another model"):  # a long `add` that began before the switch
            ms._catalogue.touch({hit.track_id: ms._catalogue.by_id(hit.track_id).file})
    with MusicSearch(address, encoder=other) as ms:
        assert ms.search("low", k=1)[0].metadata == hit.metadata
        ms.annotate({hit.track_id: {"bpm": 1}})


def test_of_two_at_a_time_one_switches(address: str, encoder: LocalEncoder, other: LocalEncoder) -> None:
    def do_it_too() -> None:
        assert reembed(address, other, switch=True, progress=False).is_current

    with MusicSearch(address, encoder=encoder) as ms:
        ids = {hit.track_id for hit in ms.search("low", k=9)}
    with pytest.raises(ModelMismatch, match="now uses another model than tiny: open"):
        reembed(address, Interrupted(other, then=do_it_too), switch=True, progress=False)
    with MusicSearch(address, encoder=other) as ms:
        assert {hit.track_id for hit in ms.search("low", k=9)} == ids
        assert ms.info().tracks == 3


def test_a_track_that_is_removed_while_it_is_embedded(
    address: str, tones: Path, encoder: LocalEncoder, other: LocalEncoder
) -> None:
    with MusicSearch(address, encoder=encoder) as ms:
        low = ms.track_id(tones / "low.wav")
        done = reembed(address, Interrupted(other, then=lambda: ms.remove(low)), switch=True, progress=False)
    assert (done.lacking, done.is_current) == (0, True)
    with MusicSearch(address, encoder=other) as ms:
        assert ms.info().tracks == 2


def test_a_stop_before_the_switch(
    address: str, encoder: LocalEncoder, other: LocalEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pymilvus import MilvusClient

    def is_killed(*arguments: object, **named: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(MilvusClient, "alter_alias", is_killed)
        with pytest.raises(KeyboardInterrupt):
            reembed(address, other, switch=True, progress=False)
    with MusicSearch(address, encoder=encoder) as ms:
        assert paths(ms, "low")[0] == "low"
    done = reembed(address, other, switch=True, progress=False)
    assert (done.added.updated, done.is_current) == (0, True)


def test_the_model_that_it_has_already(address: str, encoder: LocalEncoder) -> None:
    with pytest.raises(ModelMismatch, match=r"already has the model tiny \([0-9a-f]{64}\): name another model"):
        reembed(address, encoder, switch=True, progress=False)


def test_a_collection_of_a_former_version(
    tmp_path: Path, address: str, encoder: LocalEncoder, other: LocalEncoder
) -> None:
    from pymilvus import MilvusClient

    client = MilvusClient(str(tmp_path / "milvus.db"))
    name = client.describe_collection("library")["collection_name"]
    client.drop_alias("library")
    client.rename_collection(name, "library")
    client.rename_collection(f"{name}_notes", "library_notes")
    with MusicSearch(address, encoder=encoder) as ms:
        assert paths(ms, "low")[0] == "low"
        ms.annotate({ms.search("low", k=1)[0].track_id: {"bpm": 1}})
    said = f"rename library to {name} and library_notes to {name}_notes, and make library an alias of {name}$"
    with pytest.raises(LibraryError, match=said):
        reembed(address, other, progress=False)

    client.rename_collection("library", name)
    client.rename_collection("library_notes", f"{name}_notes")
    client.create_alias(name, "library")
    assert reembed(address, other, switch=True, progress=False).is_current
    with MusicSearch(address, encoder=other) as ms:
        assert ms.search("low", k=1)[0].metadata == {"bpm": 1}


def test_the_space_of_former_models(
    tmp_path: Path, address: str, encoder: LocalEncoder, other: LocalEncoder, capsys: pytest.CaptureFixture[str]
) -> None:
    from pymilvus import MilvusClient

    client = MilvusClient(str(tmp_path / "milvus.db"))
    client.create_collection("library_somebody", dimension=8)
    former = client.describe_collection("library")["collection_name"]
    assert main(["compact", address]) == 0
    assert capsys.readouterr().out == "dropped collections of other models: none\n"
    with MusicSearch(address, encoder=encoder) as ms:
        reembed(address, other, switch=True, progress=False)
        assert len(ms.search("low", k=9)) == 3
        assert main(["compact", address, "--json"]) == 0
        assert json.loads(capsys.readouterr().out) == {"dropped": [former]}
        with pytest.raises(ModelMismatch, match="now uses another model than tiny: open"):
            ms.search("low")
    now = client.describe_collection("library")["collection_name"]
    assert client.list_collections() == sorted([now, f"{now}_notes", "library_somebody"])
    with MusicSearch(address, encoder=other) as ms:
        assert paths(ms, "low")[0] == "low"


def test_from_the_terminal(
    tmp_path: Path, address: str, tiny_repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    repository = build_tiny_repository(tmp_path / "other", dim=24, seed=1)
    assert main(["reembed", address, "--encoder", str(repository)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "the library's model is tiny"
    assert main(["search", address, "low", "--encoder", str(tiny_repository)]) == 0
    assert main(["reembed", address, "--encoder", str(repository), "--switch"]) == 0
    assert f"`music-search compact {address}` drops them" in capsys.readouterr().out.splitlines()[-1]
    assert main(["search", address, "low", "--encoder", str(tiny_repository)]) == 2
    assert "was made with the model tiny" in capsys.readouterr().err


def test_no_library_to_embed(tmp_path: Path, other: LocalEncoder) -> None:
    address = milvus_address(tmp_path)
    with pytest.raises(LibraryError, match="no library at milvus:"):
        reembed(address, other, progress=False)
    from pymilvus import MilvusClient

    MilvusClient(str(tmp_path / "milvus.db")).create_collection("library", dimension=8)
    with pytest.raises(LibraryError, match="is not a MusicSearch library: choose another name"):
        reembed(address, other, progress=False)


def test_a_writer_of_another_model_makes_no_second_library(tmp_path: Path) -> None:
    address = milvus_address(tmp_path)
    first, second = open_store(address, create=MODEL), open_store(address, create=MODEL._replace(fingerprint="e" * 64))
    assert second.model == first.model == MODEL
