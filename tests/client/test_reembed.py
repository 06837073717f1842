"""A library goes over to another model and back, while others search it."""

from pathlib import Path

import numpy as np
import pytest

from client import EncoderError, LibraryError, ModelMismatch, MusicSearch, QueryError
from client.encoders.local import LocalEncoder
from client.index.maintenance import compact
from client.reembed import reembed
from tests.client.audio_files import tone, write_audio
from tests.tiny_repository import TONES_HZ, build_tiny_repository


@pytest.fixture
def library(tmp_path: Path, encoder: LocalEncoder, tones: Path) -> Path:
    with MusicSearch(tmp_path / "library", encoder=encoder) as ms:
        ms.add(tones, progress=False)
    return tmp_path / "library"


@pytest.fixture(scope="session")
def other(tmp_path_factory: pytest.TempPathFactory) -> LocalEncoder:
    return LocalEncoder(build_tiny_repository(tmp_path_factory.mktemp("other"), dim=24, seed=1), device="cpu")


def paths(ms: MusicSearch, query: str) -> list[str]:
    return [Path(hit.path).stem for hit in ms.search(query, k=3)]


def test_arguments_are_checked_before_anything_is_embedded(
    library: Path, encoder: LocalEncoder, other: LocalEncoder
) -> None:
    with pytest.raises(ModelMismatch, match=r"the model of .* is tiny .*, not .*: name the former model"):
        reembed(library, other, former=other, queries=["low"], progress=False)
    with pytest.raises(QueryError, match="windows is 0, expected a whole number of at least 1"):
        reembed(library, other, windows=0, progress=False)
    with MusicSearch(library, encoder=encoder) as ms:
        assert ms.failed() == []


def test_there_and_back(library: Path, tones: Path, encoder: LocalEncoder, other: LocalEncoder) -> None:
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
        with pytest.raises(ModelMismatch, match="now uses another model than tiny: open it again"):
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
    compact(library)
    with MusicSearch(library, encoder=encoder) as ms:
        assert len(ms.search("low", k=9)) == 4


def test_by_some_windows(library: Path, other: LocalEncoder) -> None:
    assert reembed(library, other, windows=1, switch=True, progress=False).is_current
    with MusicSearch(library, encoder=other) as ms:
        assert [hit.start_s for hit in ms.search("low", k=9)] == [1.0, 1.0, 1.0]


def test_it_goes_on_where_it_was(library: Path, encoder: LocalEncoder, other: LocalEncoder) -> None:
    class Failing:
        """Embeds six of the nine windows, then fails."""

        spec, device, batch_size = other.spec, "cpu", 1
        embed_texts = other.embed_texts
        left = 6

        def embed_windows(self, waveforms: np.ndarray) -> np.ndarray:
            self.left -= 1
            if self.left < 0:
                raise EncoderError("the server went away")
            return other.embed_windows(waveforms)

    with pytest.raises(EncoderError, match="went away"):
        reembed(library, Failing(), switch=True, progress=False)
    with MusicSearch(library, encoder=encoder) as ms:
        assert paths(ms, "low")[0] == "low"
    done = reembed(library, other, switch=True, progress=False)
    assert 0 < done.added.updated < 3
    assert done.is_current


def test_a_file_that_is_gone_keeps_the_library_from_switching(
    library: Path, tones: Path, encoder: LocalEncoder, other: LocalEncoder
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
    library: Path, tones: Path, encoder: LocalEncoder, other: LocalEncoder
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
