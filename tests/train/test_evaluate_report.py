import base64
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from train.checkpoint import Checkpoint, save_checkpoint
from train.config import load_recipe
from train.data.manifest import Row, read_manifest
from train.dual_encoder import DualEncoder
from train.evaluate.__main__ import main
from train.evaluate.errors import EvaluationError
from train.evaluate.failures import Failure, find_failure, find_label_failures, find_worst
from train.evaluate.players import Players
from train.evaluate.report import PAGE_BYTES, check_report_path, map_to_plane, render_page
from train.evaluate.retrieval import score_retrieval
from train.evaluate.svg import draw_histograms

SIMILARITY = np.array([[0.9, 0.1, 0.2, 0.3], [0.8, 0.5, 0.6, 0.1], [0.1, 0.2, 0.7, 0.3], [0.4, 0.3, 0.2, 0.1]])


class Outline(HTMLParser):
    """Which elements stand open at the end, and every address that the page names."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag != "meta":
            self.open.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def page(tones: Path) -> str:
    rows = [replace(row, extra={"note": "few artists & few genres"}) for row in read_manifest(tones, split="test")]
    rng = np.random.default_rng(0)
    audio, text = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in rng.standard_normal((2, len(rows), 8)))
    captions = [f"{row.captions[0]} <script>alert({i})</script>" for i, row in enumerate(rows)]
    result = score_retrieval(text @ audio.T, seed=0)
    return render_page(audio, text=text, captions=captions, rows=rows, result=result, title="a & b", seed=0)


def test_the_page_is_whole_and_needs_nothing_else(page: str):
    outline = Outline(page)
    assert outline.open == []
    assert outline.addresses
    assert all(address.startswith("data:audio/ogg;base64,") for address in outline.addresses)
    assert "http" not in page
    assert len(page) < PAGE_BYTES


def test_what_users_wrote_is_escaped(page: str):
    assert "<script" not in page
    assert "&lt;script&gt;alert(0)" in page
    assert page.count("<p>few artists &amp; few genres</p>") == 1
    assert "<title>a &amp; b</title>" in page


def test_players_play_the_track(page: str, tones: Path):
    data = next(iter(Outline(page).addresses)).partition(",")[2]
    with soundfile.SoundFile(io.BytesIO(base64.b64decode(data))) as file:
        assert (file.samplerate, file.subtype, file.channels) == (24_000, "OPUS", 1)
        assert file.frames == pytest.approx(240_000, abs=2_000)
        sound = file.read()
    assert np.abs(sound[:24_000]).max() > 0.2
    assert np.abs(sound[-24_000:]).max() < 0.01  # the tones last 1.5 s


def test_players_play_the_middle_which_the_model_heard(tmp_path: Path):
    wave = np.zeros(30 * 16_000)
    wave[10 * 16_000 : 20 * 16_000] = 0.3 * np.sin(2 * np.pi * 440 * np.arange(10 * 16_000) / 16_000)
    soundfile.write(tmp_path / "a.flac", wave, 16_000)
    (encoded,) = re.findall(r"base64,([^\"]+)", Players(budget=PAGE_BYTES).make(tmp_path / "a.flac"))
    played, rate_hz = soundfile.read(io.BytesIO(base64.b64decode(encoded)))
    seconds = played[: 9 * rate_hz].reshape(9, rate_hz)
    assert (np.abs(seconds).max(axis=1) > 0.2).all()


def test_players_stop_at_their_budget(tones: Path):
    path = tones.parent / "0.flac"
    players = Players(budget=round(1.5 * len(Players(budget=PAGE_BYTES).make(path))))
    assert players.make(path).startswith("<audio")
    assert players.make(path) == "<em>no player: the page is full</em>"


def test_worst_queries_come_with_what_they_returned():
    assert find_failure(SIMILARITY, query=1) == Failure(1, 3, ((0, 0.8), (2, 0.6), (1, 0.5)))
    assert [failure.query for failure in find_worst(SIMILARITY, count=10)] == [3, 1]  # 0 and 2 find theirs at once
    assert [failure.query for failure in find_worst(SIMILARITY, count=1)] == [3]


def test_labels_that_fail_come_first_with_what_is_found_instead():
    labels = [("jazz",), ("folk", "slow"), ("folk",), ("jazz",)]
    rows = [Row(Path("x"), ("a",), str(i), "test", own) for i, own in enumerate(labels)]
    lines = {line.label: line for line in find_label_failures(SIMILARITY, rows=rows)}
    assert list(lines) == ["slow", "folk", "jazz"]
    assert (lines["folk"].queries, lines["folk"].label_first, lines["folk"].instead) == (2, 0.5, (("jazz", 1),))
    assert lines["jazz"].label_first == 1.0  # track 0 answers query 3: another track, the same label
    assert lines["jazz"].worst.query == 3
    assert lines["slow"].recall_at_10 == 1.0


def test_t_sne_keeps_groups_apart():
    rng = np.random.default_rng(0)
    audio = rng.normal(0, 0.05, (40, 8))
    audio[:20, 0] += 1
    audio[20:, 1] += 1
    text = audio + rng.normal(0, 0.05, audio.shape)
    audio_points, text_points = map_to_plane(audio, text=text, seed=0)
    for points in (audio_points, text_points):
        centres = points[:20].mean(axis=0), points[20:].mean(axis=0)
        spread = max(points[:20].std(axis=0).max(), points[20:].std(axis=0).max())
        assert np.linalg.norm(centres[0] - centres[1]) > 3 * spread


def test_a_histogram_has_the_shape_of_its_values():
    drawn = draw_histograms({"one": np.array([0.0, 0.0, 0.0, 1.0])}, bins=2)
    points = [tuple(map(float, p.split(","))) for p in re.search(r'points="([^"]+)"', drawn)[1].split()]
    heights = [330 - y for _, y in points]  # above the axis at the foot of the plot
    assert heights[0] == heights[-1] == 0
    assert heights[1] == 3 * heights[3] == 300


def test_the_command_writes_the_page_and_prints_the_scores(
    tones: Path, tiny_overrides: list[str], tiny_text_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    config = load_recipe("starter", overrides=tiny_overrides)
    tokenizer = (tiny_text_model / "tokenizer.json").read_text(encoding="utf-8")
    ckpt, out = tmp_path / "ckpt.pt", tmp_path / "report.html"
    torch.manual_seed(0)
    save_checkpoint(ckpt, Checkpoint(config, DualEncoder(config.model).state_dict(), tokenizer, {}, {}))
    common = ["report", "--ckpt", str(ckpt), "--data", str(tones), "--split", "test", "--json"]
    assert main([*common, "--out", str(out)]) == 0
    captured = capsys.readouterr()
    value = json.loads(captured.out)["text_to_audio"]["R@1"]
    page = out.read_text(encoding="utf-8")
    assert f"<td>{100 * value:.1f} %<small>" in page
    assert "ckpt.pt on split test of manifest.jsonl" in page
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".partial")] == []
    for folder in (tmp_path / "missing", ckpt):
        with pytest.raises(EvaluationError, match="cannot write the report"):
            check_report_path(folder / "report.html")
    assert main([*common, "--out", str(tmp_path / "missing" / "report.html")]) == 2
    assert "cannot write the report" in capsys.readouterr().err
