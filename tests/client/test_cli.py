"""`music-search` as a shell sees it: output, JSON, exit status, one line for an error."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from client.cli import main
from tests.client.audio_files import tone, write_audio


@pytest.fixture
def run(tiny_repository: Path, capsys: pytest.CaptureFixture[str]):
    """Run a command with the tiny model: (status, stdout, stderr)."""

    def run(*arguments: object) -> tuple[int, str, str]:
        with_model = arguments[0] in ("add", "search", "similar", "tag")
        encoder = ["--encoder", str(tiny_repository)] if with_model else []
        status = main([*map(str, arguments), *encoder])
        return status, *capsys.readouterr()

    return run


@pytest.fixture
def library(run, tmp_path: Path, tones: Path) -> Path:
    status, out, err = run("add", tmp_path / "library", tones)
    assert status == 0
    assert out.startswith("3 added, 0 updated, 0 unchanged, 0 failed: 8 s of audio in ")
    assert err == "adding 3/3\n"
    return tmp_path / "library"


def test_add_again_and_with_bad_files(run, library: Path, tones: Path) -> None:
    (tones / "bad.wav").touch()
    status, out, _ = run("add", library, tones)
    assert status == 1
    assert out.splitlines()[1] == f"  {tones / 'bad.wav'}: empty file (0 bytes)"
    status, out, _ = run("add", library, tones, "--json")
    report = json.loads(out)
    assert (status, report["added"], report["unchanged"]) == (1, 0, 3)
    assert report["failed"] == [{"path": str(tones / "bad.wav"), "reason": "empty file (0 bytes)"}]


def test_search(run, library: Path, tones: Path) -> None:
    status, out, _ = run("search", library, "low", "-k", 2, "--json")
    hits = json.loads(out)
    assert (status, len(hits), hits[0]["path"]) == (0, 2, str(tones / "low.wav"))
    assert set(hits[0]) == {*("track_id", "path", "score", "start_s", "metadata", "probability", "weak", "is_missing")}
    status, out, _ = run("search", library, "high")
    header, best, *_ = out.splitlines()
    score, fits, at, track_id, track = best.split("\t")
    assert header == "score\tfits\tat\ttrack id\ttrack"
    assert fits.endswith("%")
    assert (status, len(track_id), track) == (0, 16, str(tones / "album/high.mp3"))
    assert float(score) > 0.5
    assert at in ("0:00", "0:01")


def test_a_library_without_tracks_says_so(run, tmp_path: Path) -> None:
    status, out, err = run("add", tmp_path / "new", tmp_path / "nowhere.wav")
    assert (status, "0 added" in out) == (1, True)
    status, out, err = run("search", tmp_path / "new", "low")
    assert (status, err) == (0, "music-search: the library holds no tracks; add some with `music-search add`\n")


def test_similar(run, library: Path, tmp_path: Path, tones: Path) -> None:
    clip = write_audio(tmp_path / "clip.wav", tone(2300, seconds=1))
    status, out, _ = run("similar", library, clip, "-k", 1, "--json")
    (hit,) = json.loads(out)
    assert (status, hit["metadata"]) == (0, {"title": "High [live]"})
    status, out, _ = run("similar", library, hit["track_id"], "-k", 1, "--json")
    assert json.loads(out)[0]["track_id"] == hit["track_id"]


def test_tag(run, tones: Path) -> None:
    status, out, _ = run("tag", tones / "low.wav", "--labels", "high, low,middle", "--json")
    tags = json.loads(out)
    assert (status, tags[0]["label"]) == (0, "low")
    assert sum(tag["probability"] for tag in tags) == pytest.approx(1)
    status, out, _ = run("tag", tones / "low.wav", "--labels", "high,low", "--template", "{}", "--template", "a {}")
    assert [line.split("\t")[0] for line in out.splitlines()] == ["label", "low", "high"]


def test_info_and_remove_need_no_model(run, library: Path, tones: Path) -> None:
    status, out, _ = run("info", library, "--json")
    info = json.loads(out)
    assert (status, info["tracks"], info["model_name"], info["embedding_dim"]) == (0, 3, "tiny", 16)
    assert f"fingerprint\t{info['fingerprint']}" in run("info", library)[1].splitlines()

    track_id = json.loads(run("search", library, "high", "-k", 1, "--json")[1])[0]["track_id"]
    status, out, _ = run("remove", library, track_id, tones / "low.wav", "--json")
    assert (status, json.loads(out)["removed"][0]) == (0, track_id)
    assert json.loads(run("info", library, "--json")[1])["tracks"] == 1
    status, _, err = run("remove", library, tones / "album/middle.flac", "nobody")
    assert (status, err) == (2, f"music-search: no track with the id or path 'nobody' in {library}\n")
    assert json.loads(run("info", library, "--json")[1])["tracks"] == 1


@pytest.mark.parametrize("command", [["search", "x"], ["similar", "x.wav"], ["info"], ["remove", "x"]])
def test_a_missing_library_is_an_error_and_stays_missing(run, tmp_path: Path, command: list[str]) -> None:
    library = tmp_path / "typo"
    status, out, err = run(command[0], library, *command[1:])
    assert (status, out) == (2, "")
    assert err == f"music-search: no library at {library}: make one with `music-search add {library} PATH...`\n"
    assert not library.exists()


def test_errors_are_one_line(run, library: Path, tmp_path: Path) -> None:
    for arguments in (
        ["search", library, ""],
        ["search", library, "low", "-k", "0"],
        ["similar", library, tmp_path / "nothing.wav"],
        ["tag", tmp_path / "nothing.wav", "--labels", "a"],
        ["add", library, tmp_path, "--device", "abacus"],
    ):
        status, out, err = run(*arguments)
        assert (status, out) == (2, ""), arguments
        assert err.startswith("music-search: ")
        assert err.count("\n") == 1


def test_wrong_usage_exits_with_two(run) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["search"])
    assert caught.value.code == 2


def test_help_loads_no_engine() -> None:
    script = "import sys, client.cli\ntry: client.cli.main(['--help'])\nexcept SystemExit: pass\n"
    script += "print(sorted({'onnxruntime', 'hnswlib', 'tritonclient', 'tokenizers', 'torch'} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert "calm solo piano at night" in out
    assert out.splitlines()[-1] == "[]"


def test_the_installed_command_reports_no_traceback(tmp_path: Path) -> None:
    command = [Path(sys.executable).with_name("music-search"), "info", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("music-search: no library at ")


def test_a_reader_that_stopped_is_no_error(library: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-c", "import sys; from client.cli import main; sys.exit(main())", "info", str(library)]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")
