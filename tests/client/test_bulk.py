"""Bulk embedding on a Ray cluster of two nodes, whatever is killed: the vectors of `add`, and one row a track."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from client import LibraryError, MusicSearch
from client.bulk.__main__ import main
from client.encoders.local import LocalEncoder
from client.index.catalogue import Catalogue
from client.index.maintenance import import_library
from client.index.store import open_store
from serve import Server
from tests.client.audio_files import tone, write_audio
from tests.client.test_stores import skip_without

pytest.importorskip("ray.data", reason="Ray is not installed: needs the extra [ray]", exc_type=ImportError)
WHY = "needs the extra [remote], and for its S3 server moto[s3], flask and flask-cors"
pytest.importorskip("s3fs", reason=WHY)
pytest.importorskip("moto.server", reason=WHY)
boto3 = pytest.importorskip("boto3", reason=WHY)
pq = pytest.importorskip("pyarrow.parquet")

from tests.client.s3_server import S3Server  # noqa: E402

ROOT = Path(__file__).parents[2]
TRACKS = 24  # of a folder that takes a while
PART_TRACKS = 4

# In every process of the cluster: one that opens a poison file dies of it, as in FFmpeg, and files of the folder "slow"
# take their time. Where a file "kill" lies beside the output, the first part is written, and then its writer is killed.
CUSTOM = """
import os, signal, sys, time

def notice(event, arguments):
    if event == "open" and isinstance(arguments[0], str):
        if arguments[0].endswith("poison.wav"):
            os.kill(os.getpid(), signal.SIGSEGV)
        if "/slow/" in arguments[0]:
            time.sleep(0.1)
    if event == "os.remove" and "/part-" in (path := str(arguments[0])):
        mark = path.partition("/out/")[0] + "/kill"
        if os.path.exists(mark):
            os.remove(mark)
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(notice)
"""


class Cluster:
    """Two nodes of a core each, and the command with its driver on the first."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        quick = {"health_check_period_ms": 500, "health_check_initial_delay_ms": 0}  # to notice that a node is dead
        head = {"num_cpus": 1, "include_dashboard": False, "_system_config": quick}
        self._cluster = Cluster(initialize_head=True, head_node_args=head)
        self.worker = self._cluster.add_node(num_cpus=1)

    def start(self, *arguments: str | Path) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "client.bulk", *map(str, arguments), "--part", str(PART_TRACKS), "--json"]
        environment = {**os.environ, "RAY_ADDRESS": self._cluster.address}
        return subprocess.Popen(
            command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def run(self, *arguments: str | Path) -> dict:
        return finished(self.start(*arguments))

    def workers(self, stage: str, *, nodes: Sequence[Any] = ()) -> list[int]:
        """Processes of a stage on these nodes, or on all."""
        found = nodes or self._cluster.list_all_nodes()
        raylets = [node.all_processes["raylet"][0].process.pid for node in found]
        pids = []
        for status in Path("/proc").glob("[0-9]*/status"):
            with suppress(OSError):
                parent = int(re.search(r"^PPid:\t(\d+)$", status.read_text(), re.MULTILINE)[1])
                if parent in raylets and stage in (status.parent / "cmdline").read_text():
                    pids.append(int(status.parent.name))
        return pids

    def kill_worker(self) -> None:
        self._cluster.remove_node(self.worker, allow_graceful=False)

    def stop(self) -> None:
        self._cluster.shutdown()


def finished(process: subprocess.Popen[str]) -> dict:
    out, err = process.communicate(timeout=90)
    assert process.returncode in (0, 1), err
    return json.loads(out)


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    server = S3Server()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, s3: S3Server) -> Iterator[Cluster]:
    custom = tmp_path_factory.mktemp("custom")
    (custom / "sitecustomize.py").write_text(CUSTOM)
    with pytest.MonkeyPatch.context() as patch:
        paths = [str(custom), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        patch.setenv("PYTHONPATH", os.pathsep.join(paths))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        for name, value in s3.settings.items():  # of all nodes
            patch.setenv(name, value)
        cluster = Cluster()
        yield cluster
        cluster.stop()


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("music") / "slow"
    folder.mkdir()
    for number in range(TRACKS):
        write_audio(folder / f"{number:02}.wav", tone(200 + 20 * number, seconds=1.5))
    return folder


@pytest.fixture
def milvus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a library on the server of Milvus Lite, which is one process for all that write.

    It has no index for arrays, so it says to be a Milvus that has none. Its writes may not be concurrent.
    """
    skip_without("pymilvus", "milvus_lite")
    from milvus_lite.adapter.grpc import server, servicer

    version = servicer.milvus_pb2.GetVersionResponse(version="v2.3.5")
    monkeypatch.setattr(servicer.MilvusServicer, "GetVersion", lambda *_: version)
    running, database, port = server.start_server_in_thread(str(tmp_path / "milvus"), max_workers=1)
    yield f"milvus://127.0.0.1:{port}/music"
    running.stop(grace=None).wait()
    database.close()


def rows_in(folder: Path) -> Counter[str]:
    """How often each file is in the output."""
    tables = [pq.read_table(path, columns=["path"]) for path in folder.glob("*.parquet")]
    return Counter(path for table in tables for path in table.column("path").to_pylist())


def wait_for_a_part(folder: Path, process: subprocess.Popen[str]) -> None:
    while not list(folder.glob("part-*.parquet")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


def paths_in(milvus: str) -> list[str]:
    try:
        with closing(open_store(milvus)) as store:
            return sorted(store.paths())
    except LibraryError:  # not there yet
        return []


def wait_for_tracks(milvus: str, process: subprocess.Popen[str], *, more_than: int) -> int:
    while (tracks := len(paths_in(milvus))) <= more_than:
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    return tracks


def test_the_vectors_are_those_of_add(
    cluster: Cluster, tones: Path, encoder: LocalEncoder, tiny_repository: Path, tmp_path: Path
) -> None:
    write_audio(tones / "poison.wav", tone(440, seconds=1))
    (tones / "empty.mp3").touch()
    (tones / "cover.jpg").touch()
    out, arguments = tmp_path / "out", ("--encoder", tiny_repository, "--windows", "2")
    report = cluster.run(tones, "--to", f"parquet://{out}", *arguments)
    assert (report["added"], report["tracks"], report["passed_over"]) == (3, 3, {".jpg": 1})
    assert {Path(failed["path"]).name: failed["reason"] for failed in report["failed"]} == {
        "empty.mp3": "empty file (0 bytes)",
        "poison.wav": "the decoding process ended with SIGSEGV: the file is damaged, or memory ran out",
    }
    assert [(stage["name"], stage["tracks"]) for stage in report["stages"]] == [
        *(("Decode", 5), ("Embed", 5), ("Write", 5)),
    ]
    assert all(stage["work_s"] > 0 < stage["tracks_per_s"] and stage["waited_s"] > 0 for stage in report["stages"])
    # Nothing is tried again, not the poison either.
    again = cluster.run(tones, "--to", f"parquet://{out}", *arguments)
    assert (again["added"], again["already"], len(again["failed"]), again["stages"]) == (0, 3, 2, [])

    import_library(out, tmp_path / "library")
    (tones / "poison.wav").rename(tmp_path / "poison.wav")
    with MusicSearch(tmp_path / "added", encoder=encoder) as ms:
        assert ms.add(tones, windows=2, progress=False).added == 3
    with closing(Catalogue(tmp_path / "library")) as ours, closing(Catalogue(tmp_path / "added")) as theirs:
        assert len(ours) == 3
        assert {Path(file.path).name for file in ours.failed()} == {"empty.mp3", "poison.wav"}
        np.testing.assert_array_equal(ours.probes(), theirs.probes())
        for path in rows_in(out):
            one, other = ours.by_path(path), theirs.by_path(path)
            assert (one.tags, one.duration_s, one.file.content_hash, one.warning) == (
                *(other.tags, other.duration_s, other.file.content_hash, other.warning),
            )
            assert one.file.looks_like(os.stat(path))
            np.testing.assert_allclose(ours.vector(one.label), theirs.vector(other.label), rtol=0, atol=1e-6)
            for found, expected in zip(ours.windows(one.label), theirs.windows(other.label), strict=True):
                np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
    with MusicSearch(tmp_path / "library", encoder=encoder) as ms:
        assert Path(ms.search("low")[0].path).name == "low.wav"
        assert ms.add(tones, windows=2, progress=False).unchanged == 3


def test_a_triton_server_embeds_for_all_nodes(
    cluster: Cluster, tones: Path, encoder: LocalEncoder, triton: Server, tmp_path: Path
) -> None:
    server = f"grpc://127.0.0.1:{triton.ports.grpc}"
    report = cluster.run(tones, "--to", f"parquet://{tmp_path / 'out'}", "--encoder", server)
    assert (report["added"], report["failed"]) == (3, [])
    import_library(tmp_path / "out", tmp_path / "library")
    with (
        MusicSearch(tmp_path / "library", encoder=encoder) as ms,
        closing(Catalogue(tmp_path / "library")) as catalogue,
    ):
        for path in rows_in(tmp_path / "out"):
            (expected,) = ms.embed_audio([path])
            label = catalogue.by_path(path).label
            np.testing.assert_allclose(catalogue.vector(label), expected, rtol=0, atol=1e-5)


def test_after_the_driver_was_killed_the_rest_is_embedded(
    cluster: Cluster, slow: Path, tiny_repository: Path, tmp_path: Path
) -> None:
    command = (slow, "--to", f"parquet://{tmp_path / 'out'}", "--encoder", tiny_repository)
    process = cluster.start(*command)
    wait_for_a_part(tmp_path / "out", process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("part-*.parquet")}
    written = sum(rows_in(tmp_path / "out").values())
    report = cluster.run(*command)
    assert report["already"] >= written > 0  # its workers may have gone on for a moment
    assert report["added"] == TRACKS - report["already"] > 0
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert rows_in(tmp_path / "out") == {str(path): 1 for path in slow.iterdir()}


def test_workers_may_be_killed(cluster: Cluster, slow: Path, tiny_repository: Path, tmp_path: Path) -> None:
    (tmp_path / "kill").touch()  # a writer whose part is there, which Ray does not know yet
    process = cluster.start(slow, "--to", f"parquet://{tmp_path / 'out'}", "--encoder", tiny_repository)
    wait_for_a_part(tmp_path / "out", process)
    os.kill(cluster.workers("Embed")[0], signal.SIGKILL)
    assert sum(rows_in(tmp_path / "out").values()) < TRACKS // 2
    report = finished(process)
    assert not (tmp_path / "kill").exists()
    assert (process.returncode, report["added"], report["failed"]) == (0, TRACKS, [])
    assert rows_in(tmp_path / "out") == {str(path): 1 for path in slow.iterdir()}


def test_milvus_holds_every_track_once_whatever_is_killed(
    cluster: Cluster, slow: Path, encoder: LocalEncoder, tiny_repository: Path, milvus: str
) -> None:
    command = (slow, "--to", milvus, "--encoder", tiny_repository)
    process = cluster.start(*command)
    written = wait_for_tracks(milvus, process, more_than=0)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    process = cluster.start(*command)
    assert wait_for_tracks(milvus, process, more_than=written) < TRACKS
    os.kill(cluster.workers("Write")[0], signal.SIGKILL)
    report = finished(process)
    assert (process.returncode, report["added"] + report["already"], report["failed"]) == (0, TRACKS, [])
    assert report["already"] >= written
    assert paths_in(milvus) == sorted(map(str, slow.iterdir()))
    again = cluster.run(*command)
    assert (again["added"], again["already"]) == (0, TRACKS)
    with MusicSearch(milvus, encoder=encoder) as ms:
        assert ms.add(slow, progress=False).unchanged == TRACKS


def test_a_node_may_die(cluster: Cluster, slow: Path, tiny_repository: Path, tmp_path: Path) -> None:
    process = cluster.start(slow, "--to", f"parquet://{tmp_path / 'out'}", "--encoder", tiny_repository)
    wait_for_a_part(tmp_path / "out", process)
    while not cluster.workers("Decode", nodes=[cluster.worker]):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    assert sum(rows_in(tmp_path / "out").values()) < TRACKS // 2
    cluster.kill_worker()
    report = finished(process)
    assert (report["added"], report["failed"]) == (TRACKS, [])
    assert rows_in(tmp_path / "out") == {str(path): 1 for path in slow.iterdir()}


def test_what_lies_in_a_store_is_embedded_from_there(
    cluster: Cluster, tones: Path, encoder: LocalEncoder, tiny_repository: Path, tmp_path: Path
) -> None:
    bucket = boto3.client("s3")
    bucket.create_bucket(Bucket="music")
    for path in tones.rglob("*.*"):
        bucket.put_object(Bucket="music", Key=f"in/{path.name}", Body=path.read_bytes())
    bucket.put_object(Bucket="music", Key="in/cover.jpg", Body=b"picture")
    bucket.put_object(Bucket="music", Key="in/empty.mp3", Body=b"")
    command = ("s3://music/in", "--to", f"parquet://{tmp_path / 'out'}", "--encoder", tiny_repository)
    report = cluster.run(*command)
    assert (report["added"], report["passed_over"]) == (3, {".jpg": 1})
    assert [failed["path"] for failed in report["failed"]] == ["s3://music/in/empty.mp3"]
    again = cluster.run(*command)
    assert (again["added"], again["already"], len(again["failed"]), again["stages"]) == (0, 3, 1, [])
    import_library(tmp_path / "out", tmp_path / "library")
    with MusicSearch(tmp_path / "library", encoder=encoder) as ms:
        assert ms.search("low")[0].path == "s3://music/in/low.wav"
        assert ms.add("s3://music/in", progress=False).unchanged == 3
    bucket.put_object(Bucket="music", Key="in/empty.mp3", Body=(tones / "low.wav").read_bytes())
    assert cluster.run(*command)["added"] == 1


def test_a_task_has_few_tracks_and_few_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from client.bulk import pipeline

    monkeypatch.setattr(pipeline, "_TASK_BYTES", 100)
    for number, size in enumerate((30, 30, 30, 30, 60, 10, 1, 101)):
        (tmp_path / str(number)).write_bytes(bytes(size))
    known = {"s3://music/50": 50, "s3://music/51": 51}
    places = [*(str(tmp_path / str(number)) for number in range(8)), *known, "https://host/a", str(tmp_path / "gone")]
    files = [{"path": place, "size": known.get(place, -1)} for place in places]
    groups = [[place["path"].rpartition("/")[2] for place in group] for group in pipeline._groups(files, most=3)]
    assert groups == [["0", "1", "2"], ["3", "4", "5"], ["6"], ["7"], ["50"], ["51"], ["a"], ["gone"]]
    assert [file for group in pipeline._groups(files, most=3) for file in group] == files


# -- what goes wrong -----------------------------------------------------------------------------------


def said_at_the_end(process: subprocess.Popen[str]) -> str:
    """The one sentence of a run that an error ended; Ray's own server may log lines that begin with "["."""
    out, err = process.communicate(timeout=90)
    assert (process.returncode, out) == (2, "")
    told = [line for line in err.splitlines() if not line.startswith(("[", "embedding "))]
    assert len(told) == 1, err
    return told[0]


def test_a_store_that_takes_the_credentials_no_more_ends_it(
    cluster: Cluster, tones: Path, tiny_repository: Path, tmp_path: Path, s3: S3Server
) -> None:
    bucket = boto3.client("s3")
    bucket.create_bucket(Bucket="expired")
    for number in range(8):
        bucket.put_object(Bucket="expired", Key=f"{number}.wav", Body=(tones / "low.wav").read_bytes())
    command = ("s3://expired", "--to", f"parquet://{tmp_path / 'out'}", "--encoder", tiny_repository)
    s3.gate = lambda environ: ("400 Bad Request", "ExpiredToken") if environ.get("HTTP_RANGE") else None
    try:
        said = said_at_the_end(cluster.start(*command))
    finally:
        s3.reset()
    assert re.fullmatch(
        r"client.bulk: s3://expired/\d.wav: its store rejects the credentials \(.*\): renew them; the 3 files before "
        "it could not be read either. Written tracks are kept: run the same command again to continue",
        said,
    )
    assert cluster.run(*command)["added"] == 8


def test_a_model_that_other_machines_lack_ends_it(
    cluster: Cluster, slow: Path, tiny_repository: Path, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    shutil.copytree(tiny_repository, model)
    process = cluster.start(slow, "--to", f"parquet://{tmp_path / 'out'}", "--encoder", model)
    while not (tmp_path / "out/about.parquet").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    shutil.rmtree(model)  # before the workers, which start later, have opened it
    assert re.fullmatch(rf"client.bulk: no model repository at {model}.*", said_at_the_end(process))


def test_bad_input(
    tmp_path: Path,
    tones: Path,
    tiny_repository: Path,
    capsys: pytest.CaptureFixture[str],
    s3: S3Server,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in s3.settings.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "empty").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other/x").touch()
    to = f"parquet://{tmp_path / 'out'}"
    model = str(tiny_repository)
    for arguments, said in (
        ([str(tmp_path / "empty"), "--to", to, "--encoder", model], "no audio in .*empty: name an audio file"),
        ([str(tones), "--to", f"parquet://{tmp_path / 'other'}", "--encoder", model], "holds other files"),
        ([str(tones), "--to", to, "--encoder", str(tmp_path / "nowhere")], "no model repository at .*nowhere"),
        ([str(tones), "--to", to, "--encoder", "grpc://127.0.0.1:9"], "127.0.0.1:9"),
        ([str(tones), "--to", to, "--encoder", model, "--part", "0"], "part"),
        (["s3://no-such-bucket/x", "--to", to, "--encoder", model], "s3://no-such-bucket/x: there is no such bucket"),
    ):
        assert main(arguments) == 2
        err = capsys.readouterr().err
        assert err.startswith("client.bulk: ")
        assert err.count("\n") == 1
        assert re.search(said, err)
    assert not (tmp_path / "out").exists()


def test_a_cluster_that_does_not_answer_is_told_at_once(
    tmp_path: Path,
    tones: Path,
    tiny_repository: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    assert main([str(tones), "--to", f"parquet://{tmp_path / 'out'}", "--encoder", str(tiny_repository)]) == 2
    err = capsys.readouterr().err
    assert err.startswith("client.bulk: no Ray cluster at 127.0.0.1:9 (")
    assert err.count("\n") == 1
