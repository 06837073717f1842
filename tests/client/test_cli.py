"""`music-search` as a shell sees it: output, JSON, exit status, one line for an error."""

import json
import os
import pty
import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from client import LibraryBusy, MusicSearch
from client.cli import main, watching
from client.cli.parser import make_parser
from client.encoders.local import LocalEncoder
from client.ingest import AddReport
from tests.client.audio_files import tone, write_audio
from tests.tiny_repository import build_tiny_repository


@pytest.fixture
def run(tiny_repository: Path, capsys: pytest.CaptureFixture[str]):
    """Run a command with the tiny model: (status, stdout, stderr)."""

    def run(*arguments: object) -> tuple[int, str, str]:
        with_model = "--encoder" in parsers()[str(arguments[0])].format_usage()
        encoder = ["--encoder", str(tiny_repository)] if with_model and "--encoder" not in arguments else []
        status = main([*map(str, arguments), *encoder])
        return status, *capsys.readouterr()

    return run


@pytest.fixture
def library(run, tmp_path: Path, tones: Path) -> Path:
    status, out, err = run("add", tmp_path / "library", tones)
    assert status == 0
    assert out.startswith("3 added, 0 updated, 0 unchanged, 0 failed: 8 s of audio in ")
    assert re.search(r" \(decoding \d+\.\d s, embedding \d+\.\d s, writing \d+\.\d s, at the same time\)", out)
    assert re.fullmatch(r"adding 3/3: \d+\.\d tracks/s, \d+x real time, 0 s left\n", err)
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
    names = {
        "track_id",
        "path",
        "score",
        "start_s",
        "metadata",
        "probability",
        "weak",
        "is_missing",
        "warning",
        "reading",
        "found_by",
        "windows",
        "lyrics",
    }
    assert set(hits[0]) == names
    status, out, _ = run("search", library, "high")
    header, best, *_ = out.splitlines()
    score, fits, at, track_id, track, by = best.split("\t")
    assert header == "score\tfits\tat\ttrack id\ttrack\tby"
    assert by == "name, sound"
    assert fits.endswith("%")
    assert (status, len(track_id), track) == (0, 16, str(tones / "album/high.mp3"))
    assert float(score) > 0.5
    assert at in ("0:00", "0:01")


def test_a_search_shows_how_it_read_a_negation(run, library: Path, tones: Path) -> None:
    query = ("search", library, "low tone without high")
    status, out, err = run(*query, "--json")
    assert (status, err) == (0, 'music-search: read as "low tone" without "high"; --literal turns this off\n')
    assert json.loads(out)[0]["reading"] == {"wanted": {"low tone": 1.0}, "unwanted": {"high": 1.0}, "parts": {}}
    status, out, err = run(*query, "--literal", "--json")
    assert (status, err) == (0, "")
    assert json.loads(out)[0]["reading"] == {"wanted": {query[-1]: 1.0}, "unwanted": {}, "parts": {}}
    _, out, err = run("search", library, "no high")
    assert 'read as anything without "high"' in err
    assert out.splitlines()[-1].endswith("high.mp3\tsound")
    _, out, err = run("search", library, "low", "--minus", "high")
    assert err == ""


def test_a_search_says_that_a_text_is_too_long(library: Path, tiny_repository: Path) -> None:
    long = "Low " * 30 + ". " + "Low " * 30 + "."
    main_of = "import sys; from client.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", main_of, "search", library, long, "--json", "--encoder", tiny_repository]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=True)
    assert "longer than the 40 tokens that the model takes: the mean vector of its 2 parts is used" in done.stderr
    assert len(json.loads(done.stdout)[0]["reading"]["parts"][long]) == 2


def test_an_evaluation_shows_how_it_read_a_negation(run, library: Path, tmp_path: Path, tones: Path) -> None:
    table = tmp_path / "queries.csv"
    table.write_text(f"query,track\nno high,{tones / 'low.wav'}\nlow,{tones / 'low.wav'}\n")
    _, out, _ = run("evaluate", library, table, "--json")
    assert json.loads(out)["readings"] == {"no high": {"wanted": {}, "unwanted": {"high": 1.0}, "parts": {}}}
    _, out, _ = run("evaluate", library, table, "--json", "--literal")
    assert json.loads(out)["readings"] == {}


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


def test_a_library_that_lost_its_vectors_says_what_to_do(run, library: Path) -> None:
    with sqlite3.connect(library / "catalogue.sqlite3") as db:
        db.execute("UPDATE vectors SET vector = zeroblob(4)")
    db.close()
    assert "lacking" in run("verify", library, "--repair", "--json")[1]
    status, out, err = run("search", library, "low", "--json")
    assert (status, json.loads(out)) == (0, [])
    assert err == "music-search: nothing found: no track has a vector; run `music-search add` with their folders\n"


def test_errors_are_one_line(run, library: Path, tmp_path: Path) -> None:
    for arguments in (
        ["search", library, ""],
        ["search", library, "low", "-k", "0"],
        ["similar", library, tmp_path / "nothing.wav"],
        ["tag", tmp_path / "nothing.wav", "--labels", "a"],
        ["tag", library, "--labels", "nosuch.txt"],
        ["add", library, tmp_path, "--device", "abacus"],
    ):
        status, out, err = run(*arguments)
        assert (status, out) == (2, ""), arguments
        assert err.startswith("music-search: ")
        assert err.count("\n") == 1


def test_a_query_in_a_file_is_as_long_as_others_may_be(run, library: Path, tones: Path, tmp_path: Path) -> None:
    query = "low " * 5_000
    (tmp_path / "queries.csv").write_text(f"query,track\n{query},{tones / 'low.wav'}\n")
    (tmp_path / "queries.txt").write_text(query)
    other = build_tiny_repository(tmp_path / "other", dim=24, seed=1)
    for arguments in (
        ["evaluate", library, tmp_path / "queries.csv"],
        ["reembed", library, "--encoder", other, "--queries", tmp_path / "queries.txt", "--former", other],
    ):
        status, out, err = run(*arguments)
        assert (status, out) == (2, ""), err
        assert re.search(r"queries\[0\] has [\d,]+ bytes, expected at most 16,384", err)


def test_wrong_usage_exits_with_two(run) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["search"])
    assert caught.value.code == 2


@pytest.mark.parametrize("command", [["add", "", "music"], ["info", ""], ["verify", ""], ["doctor", ""]])
def test_a_library_without_a_name_is_wrong_usage(capsys: pytest.CaptureFixture[str], command: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(command)
    assert (caught.value.code, "the name is empty: name a folder" in capsys.readouterr().err) == (2, True)


def test_help_loads_no_engine() -> None:
    script = "import sys, client.cli\ntry: client.cli.main(['--help'])\nexcept SystemExit: pass\n"
    heavy = {
        "onnxruntime",
        "hnswlib",
        "tritonclient",
        "grpc",
        "tokenizers",
        "torch",
        "rich",
        "scipy",
        "shtab",
        "watchfiles",
    }
    script += f"print(sorted({heavy} & set(sys.modules)))"
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


def test_closed_streams_are_no_reason_to_stop(library: Path) -> None:
    script = "from client.cli import main; raise SystemExit(main())"
    closed = 'exec "$0" -c "$1" info "$2" >&- 2>&-'
    assert subprocess.run(["sh", "-c", closed, sys.executable, script, library]).returncode == 0


def test_output_that_cannot_be_written_is_one_line(library: Path) -> None:
    command = [sys.executable, "-c", "import sys; from client.cli import main; sys.exit(main())", "info", str(library)]
    with open("/dev/full", "wb") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False, text=True)
    assert (done.returncode, done.stderr) == (2, "music-search: [Errno 28] No space left on device\n")


def test_rows_of_one_track_are_taken_together_and_texts_stay_as_they_are(run, library: Path, tones: Path) -> None:
    table = library / "fields.csv"
    table.write_text(
        f"track,catalogue number,bpm,year\n{tones}/low.wav,007,120.50,\n{tones}/low.wav,,,1999\n"
        f"{tones}/album/middle.flac,1e5,Infinity,12345678901234567890\n"
    )
    assert run("annotate", library, table)[:2] == (0, "2 annotated\n")
    found = {Path(hit["path"]).stem: hit["metadata"] for hit in json.loads(run("search", library, "low", "--json")[1])}
    assert json.dumps(found["low"], sort_keys=True) == '{"bpm": 120.5, "catalogue number": "007", "year": 1999}'
    assert found["middle"] == {"catalogue number": "1e5", "bpm": "Infinity", "year": "12345678901234567890"}


def test_a_watched_folder(
    library: Path, tones: Path, encoder: LocalEncoder, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setattr(watching, "_PAUSE_S", 0.0)
    monkeypatch.setattr(watching, "_QUIET_MS", 200)
    options = make_parser().parse_args(["add", str(library), str(tones), "--watch"])
    with MusicSearch(library, encoder=encoder) as ms:
        add = ms.add

        def add_while_files_come(*arguments: object, **named: object) -> AddReport:
            monkeypatch.setattr(ms, "add", add)
            report = add(*arguments, **named)
            write_audio(tones / "new.wav", tone(440, seconds=1))
            (tones / "bad.wav").touch()
            return report

        def add_while_another_does(*arguments: object, **named: object) -> AddReport:
            monkeypatch.setattr(ms, "add", add_while_files_come)
            raise LibraryBusy("another process writes")

        monkeypatch.setattr(ms, "add", add_while_another_does)
        reports = watching.watch(ms, options)
        first = next(reports)
        assert (first.unchanged, first.failed) == (3, [])
        assert "music-search: another process writes; trying again in 0 s\n" in capsys.readouterr().err
        second = next(reports)
        assert (second.added, [file.reason for file in second.failed]) == (1, ["empty file (0 bytes)"])
        (tones / "low.wav").unlink()
        third = next(reports)
        assert (third.missing, third.failed) == (1, [])


def test_watching_what_is_not_there_is_an_error(run, tmp_path: Path) -> None:
    status, _, err = run("add", tmp_path / "library", tmp_path / "typo", "--watch")
    message = f"music-search: cannot watch {tmp_path / 'typo'}: there is no such file or folder\n"
    assert (status, err) == (2, message)


def parsers() -> dict:
    return make_parser()._subparsers._group_actions[0].choices


def test_every_command_has_examples_that_parse(tmp_path: Path) -> None:
    for name, parser in parsers().items():
        lines = parser.epilog.splitlines()
        assert lines[0] == "examples:"
        for line in lines[1:]:
            words = shlex.split(line.partition(" > ")[0].partition("    after: ")[0])
            assert words[:2] == ["music-search", name]
            make_parser().parse_args(words[1:])


def test_every_command_prints_json(
    run, library: Path, tones: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "queries.csv").write_text(f"query,track\nlow,{tones / 'low.wav'}\n", encoding="utf-8")
    (tmp_path / "fields.csv").write_text(f"track,mood\n{tones / 'low.wav'},calm\n", encoding="utf-8")
    arguments = {
        "add": [library, tones],
        "search": [library, "low"],
        "similar": [library, tones / "low.wav"],
        "mix": [library, tones / "low.wav"],
        "path": [library, tones / "low.wav", tones / "album/high.mp3"],
        "radio": [library, tones / "low.wav"],
        "tag": [library, "--labels", "low,high"],
        "duplicates": [library],
        "evaluate": [library, tmp_path / "queries.csv"],
        "annotate": [library, tmp_path / "fields.csv"],
        "failed": [library],
        "info": [library],
        "verify": [library],
        "compact": [library],
        "export": [library, tmp_path / "library.export"],
        "import": [tmp_path / "another", tmp_path / "library.export"],
        "reembed": [library],
        "doctor": [library],
        "completion": ["bash"],
        "remove": [library, tones / "low.wav"],  # last, as the others want it
    }
    # web stays, and serves; transcribe has another model, and its JSON is in test_transcribe.py
    assert arguments.keys() == parsers().keys() - {"web", "transcribe"}
    for name, given in arguments.items():
        status, out, _ = run(name, *given, "--json")
        assert status == 0, name
        assert isinstance(json.loads(out), dict | list), name


def test_add_by_some_windows(run, tmp_path: Path, tones: Path) -> None:
    status, out, _ = run("add", tmp_path / "library", tones, "--windows", 1)
    assert (status, out.startswith("3 added")) == (0, True)
    status, out, _ = run("search", tmp_path / "library", "high", "--json")
    start_s = {Path(hit["path"]).stem: hit["start_s"] for hit in json.loads(out)}
    assert start_s == {"low": 1.0, "middle": 1.0, "high": 1.0}
    status, _, err = run("add", tmp_path / "library", tones, "--windows", 0)
    assert (status, err) == (2, "music-search: windows is 0, expected a whole number of at least 1\n")


def test_tag_a_library(run, library: Path, tones: Path) -> None:
    status, out, _ = run("tag", library, "--labels", "low,middle,high", "--as", "pitch", "--json")
    best = {Path(track["path"]).stem: track["tags"][0]["label"] for track in json.loads(out)}
    assert (status, best) == (0, {"low": "low", "middle": "middle", "high": "high"})
    (hit,) = json.loads(run("search", library, "low", "--where", "pitch=high", "--json")[1])
    assert Path(hit["path"]).stem == "high"
    header, *rows = run("tag", library, "--labels", "low,middle,high")[1].splitlines()
    assert header.split("\t") == ["track id", "track", "label", "score", "probability"]
    assert {row.split("\t")[1]: row.split("\t")[2] for row in rows} == {
        str(path): path.stem for path in tones.rglob("*.*")
    }


def test_labels_are_kept_though_printing_stops(run, library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(values: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("client.cli.tagging.print_json_list", stop)
    assert run("tag", library, "--labels", "low,middle,high", "--as", "pitch", "--json")[0] == 130
    assert len(json.loads(run("search", library, "low", "--where", "pitch=low,middle,high", "--json")[1])) == 3


def test_two_models_side_by_side(run, library: Path, tones: Path, tmp_path: Path) -> None:
    table = tmp_path / "queries.csv"
    rows = [f"{word},{tones / name}" for word, name in (("low", "low.wav"), ("high", "album/high.mp3"))]
    table.write_text("\n".join(["query,track", *rows, f"middle,{tones / 'low.wav'}"]), encoding="utf-8")
    other = build_tiny_repository(tmp_path / "other", dim=24, seed=1)
    arguments = ("evaluate", library, table, "--beside", other)
    status, out, err = run(*arguments)
    assert (status, out) == (2, "")
    assert "has not embedded 3 tracks of" in err

    assert run("reembed", library, "--encoder", other)[0] == 0
    status, out, _ = run(*arguments, "--json")
    done = json.loads(out)
    first, second = done["models"]
    assert (status, done["queries"]) == (0, 3)
    for model in (first, second):
        assert model["measures"]["R@1"]["value"] == pytest.approx(2 / 3)
        assert (model["exact"], model["recall_of_exact"]) == (model["measures"], 1.0)
    expected = second["measures"]["mAP@10"]["value"] - first["measures"]["mAP@10"]["value"]
    assert done["difference"]["mAP@10"]["value"] == pytest.approx(expected)
    assert done["difference"]["R@10"] == {"value": 0, "low": 0, "high": 0}
    header, *lines = run(*arguments)[1].splitlines()
    assert header.split("\t")[0] == "3 queries"
    assert header.split("\t")[5:] == ["difference", "95 % interval"]
    assert lines[0].split("\t")[:2] == ["R@1", "66.7%"]
    assert json.loads(run("evaluate", library, table, "--json")[1])["difference"] is None


def test_doctor_names_what_is_wrong(run, library: Path, tmp_path: Path) -> None:
    status, out, _ = run("doctor", library)
    assert status == 0
    assert {"tracks\t3", "index\texact"} <= set(out.splitlines())
    assert "first search\t" in out
    other = build_tiny_repository(tmp_path / "other", dim=24, seed=1)
    status, out, _ = run("doctor", library, "--encoder", other, "--json")
    (problem,) = json.loads(out)["problems"]
    assert (status, "was made with the model tiny" in problem) == (1, True)
    status, out, _ = run("doctor", tmp_path / "typo", "--encoder", tmp_path / "nothing", "--json")
    assert (status, len(json.loads(out)["problems"])) == (1, 2)


def test_info_counts_files_that_failed_or_vanished(run, library: Path, tones: Path) -> None:
    (tones / "bad.wav").touch()
    (tones / "low.wav").unlink()
    run("add", library, tones)
    info = json.loads(run("info", library, "--json")[1])
    assert (info["tracks"], info["missing"], info["failed"]) == (3, 1, 1)
    assert run("failed", library)[1].splitlines()[1:] == [f"{tones / 'bad.wav'}\tempty file (0 bytes)"]
    (tones / "bad.wav").unlink()
    run("add", library, tones)
    assert json.loads(run("failed", library, "--json")[1]) == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_every_command_and_option(run, shell: str) -> None:
    status, script, _ = run("completion", shell)
    assert status == 0
    for name, parser in parsers().items():
        assert name in script
        for option in parser._option_string_actions:
            assert option.lstrip("-") in script, (name, option)


@pytest.mark.parametrize(
    ("typed", "offered"), [("rem", ["remove"]), ("search --enc", ["--encoder"]), ("info ./li", ["./library.d"])]
)
@pytest.mark.skipif(not shutil.which("bash"), reason="bash is not installed")
def test_bash_completes(run, tmp_path: Path, typed: str, offered: list[str]) -> None:
    (tmp_path / "library.d").mkdir()
    words = ["music-search", *typed.split()]
    lines = [
        run("completion", "bash")[1],
        f"COMP_WORDS=({shlex.join(words)}); COMP_CWORD={len(words) - 1}",
        "$(complete -p music-search | sed 's/.*-F \\([^ ]*\\).*/\\1/')",
        'printf "%s\\n" "${COMPREPLY[@]}"',
    ]
    done = subprocess.run(["bash", "-c", "\n".join(lines)], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert done.stdout.split() == offered


@pytest.mark.parametrize("no_color", [False, True])
def test_a_terminal_gets_a_table_with_colours_unless_unwanted(library: Path, no_color: bool) -> None:
    ours, its = pty.openpty()
    command = [sys.executable, "-c", "import sys; from client.cli import main; sys.exit(main())", "info", str(library)]
    environment = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    environment |= {"TERM": "xterm-256color"} | ({"NO_COLOR": "1"} if no_color else {})
    subprocess.run(command, stdout=its, env=environment, check=True)
    os.close(its)
    out = os.read(ours, 100_000).decode()
    os.close(ours)
    assert "embedding_dim │ 16" in out
    assert ("\x1b[1;36m" in out) is not no_color
