"""What the stages of `client.bulk` do with a table of tracks, without a cluster."""

import pytest

from client.encoders import EncoderSpec
from client.errors import AudioError, StoreError

pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed", exc_type=ImportError)
stages = pytest.importorskip("client.bulk.stages")


def test_decoding_ends_when_a_store_answers_for_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def look_first(path: str, **_: object) -> None:
        raise AudioError(path, "no answer", is_stores="ok" not in path)

    monkeypatch.setattr(stages, "look_first", look_first)
    decode = stages.Decode(spec=EncoderSpec(16_000, 160_000, 4, 77, "model", "f" * 64), windows=None)
    names = ["a", "b", "c", "ok", "d", "e", "f"]
    files = [{"path": f"s3://music/{name}", "unless_video": False, "size": 1, "mtime_ns": 1} for name in names]
    read = decode(pa.Table.from_pylist(files, stages.FILES))
    assert read.column("reason").to_pylist() == ["no answer"] * 7
    with pytest.raises(StoreError, match=r"s3://music/d: no answer; the 3 files before it .*run the same command"):
        decode(pa.Table.from_pylist(files[4:], stages.FILES))
