"""Random splits of a manifest, as MusCALL divides its pairs (Manco et al. 2022, §4.1)."""

import json
from collections import Counter
from pathlib import Path

import pytest

from train.data.__main__ import main
from train.data.manifest import ManifestError, Row, read_manifest
from train.data.split import split_rows


def rows_of(count: int, *, first: int = 0) -> list[Row]:
    return [Row(Path(f"{n}.flac"), (f"caption {n}",), str(n), "train") for n in range(first, first + count)]


def test_rows_are_divided_by_their_shares_and_keep_their_order():
    rows = rows_of(5_000)
    divided = split_rows(rows)
    assert [row.track_id for row in divided] == [row.track_id for row in rows]
    counts = Counter(row.split for row in divided)
    assert abs(counts["train"] - 4_000) < 4 * 28.3  # four standard deviations of a binomial
    assert abs(counts["val"] - 500) < 4 * 21.2
    assert abs(counts["test"] - 500) < 4 * 21.2
    assert {row.split for row in split_rows(rows, shares=(3, 0, 1))} == {"train", "test"}


def test_a_track_stays_in_its_split_when_others_are_added():
    few, many = split_rows(rows_of(300, first=100)), split_rows(rows_of(600))
    assert few == many[100:400]
    assert [row.split for row in few] != [row.split for row in split_rows(rows_of(300, first=100), seed=1)]


def test_the_rows_of_a_recording_are_in_one_split():
    again = [Row(row.audio, ("another caption",), f"again {row.track_id}", "test") for row in rows_of(200)]
    divided = split_rows([*rows_of(200), *again])
    assert [row.split for row in divided[:200]] == [row.split for row in divided[200:]]
    assert divided[:200] == split_rows(rows_of(200))


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ((80, 20), "shares are .*; expected three numbers of 0 or more"),
        ((80, -1, 10), "shares are .*; expected three numbers of 0 or more"),
        ((0, 0, 0), "shares are .*; expected three numbers of 0 or more"),
        ((1e6, 1, 1), "none of the 20 rows falls to split 'val' with a share of 1 in "),
    ],
)
def test_shares_that_cannot_be_had_are_refused(shares: tuple[float, ...], message: str):
    with pytest.raises(ManifestError, match=message):
        split_rows(rows_of(20), shares=shares)


def test_the_command_writes_the_rows_with_their_new_splits(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    lines = [json.dumps({"audio": f"{n}.flac", "captions": ["a"], "labels": ["jazz"]}) for n in range(100)]
    manifest, out = tmp_path / "manifest.jsonl", tmp_path / "split.jsonl"
    manifest.write_text("\n".join(lines), encoding="utf-8")
    assert main(["split", str(manifest), "--out", str(out), "--shares", "1", "1", "1", "--seed", "3"]) == 0
    assert capsys.readouterr().out.startswith(f"100 rows in {out}: ")
    assert read_manifest(out) == split_rows(read_manifest(manifest), shares=(1, 1, 1), seed=3)
    assert main(["split", str(manifest), "--out", str(manifest)]) == 2
    assert "choose another file" in capsys.readouterr().err
