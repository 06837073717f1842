"""Training from an S3 server: a loader's workers are forks of a process that has asked the server already."""

import os
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.train.processes import ENVIRONMENT
from tests.train.test_shards import TWO_EPOCHS, assert_same_weights, pack
from train.config import load_recipe
from train.loop import train

WHY = "needs s3fs, and for its S3 server moto[s3], flask and flask-cors"
pytest.importorskip("s3fs", reason=WHY)
boto3 = pytest.importorskip("boto3", reason=WHY)
pytest.importorskip("moto.server", reason=WHY)

from tests.client.s3_server import S3Server  # noqa: E402

HANGS_AFTER_S = 120
DELAY_S = 0.05  # of each answer, in which other requests arrive
ROWS_OF_A_PART = 10  # of a batch of 20, of which two workers load a half each
VALIDATION_ROWS, VALIDATIONS = 18, 3  # before the first epoch, and after each
TRAIN = """
import os, sys
from train import __main__
from train.data import member

def note(recordings):
    with open(sys.argv[1], "a") as file:
        file.write(f"{os.getpid()} {recordings}\\n")

def read_ranges(ranges, read=member.read_ranges):
    note(len(ranges))
    return read(ranges)

note(0)
member.read_ranges = read_ranges
sys.exit(__main__.main(sys.argv[2:]))
"""
FORK = """
import asyncio, gc, os, sys, time
from fsspec.asyn import get_loop, sync
from train.data.store import Range, read_ranges

def read():
    parts = read_ranges([Range("s3://training/000.tar", begin, begin + 100) for begin in range(0, 2000, 100)])
    assert [len(part) for part in parts] == 20 * [100], parts

async def collect():
    gc.collect()
    await asyncio.sleep(0.5)  # for what it has started

read()
child = os.fork()
if not child:
    sync(get_loop(), collect)  # in the thread of the requests, where the garbage of any of them may be collected
    read()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
began = time.monotonic()
read()
print(time.monotonic() - began)
"""


class Keeping(BaseHTTPRequestHandler):
    """Answers with zeros, and keeps connections open, which moto does not."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        begin, end = map(int, self.headers["Range"].removeprefix("bytes=").split("-"))
        self.send_response(206)
        self.send_header("Content-Length", str(end + 1 - begin))
        self.end_headers()
        self.wfile.write(bytes(end + 1 - begin))

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


class Requests:
    """Counts the requests for parts of a shard, and how many of them wait for an answer at the same time.

    Attributes:
        ranges: how often which part of which path was asked for.
        whole: paths of shards that were asked for without a range.
        most_at_once: the most requests that waited at the same time.
    """

    def __init__(self) -> None:
        self.ranges: Counter[tuple[str, str]] = Counter()
        self.whole: list[str] = []
        self.most_at_once = 0
        self._waiting = 0
        self._lock = threading.Lock()

    def __call__(self, environ: dict[str, Any]) -> None:
        path = environ["PATH_INFO"]
        if environ["REQUEST_METHOD"] != "GET" or not path.endswith(".tar"):
            return
        with self._lock:
            self._waiting += 1
            self.most_at_once = max(self.most_at_once, self._waiting)
            if part := environ.get("HTTP_RANGE"):
                self.ranges[path, part] += 1
            else:
                self.whole.append(path)
        time.sleep(DELAY_S)
        with self._lock:
            self._waiting -= 1


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    server = S3Server()
    yield server
    server.stop()


@pytest.fixture
def shards(tones: Path, tmp_path: Path) -> str:
    manifest = tmp_path / "manifest.jsonl"
    manifest.write_text(tones.read_text().replace('"audio": "', f'"audio": "{tones.parent}/'))
    return pack(manifest, "--shard-size", "0.2")


@pytest.fixture
def bucket(server: S3Server, shards: str) -> str:
    """A bucket with the shards and their indices."""
    server.reset()
    client = boto3.client(
        *("s3", "us-east-1"), endpoint_url=server.url, aws_access_key_id="key", aws_secret_access_key="secret"
    )
    client.create_bucket(Bucket="training")
    for path in Path(shards).parent.iterdir():
        client.put_object(Bucket="training", Key=path.name, Body=path.read_bytes())
    server.reset()
    return "s3://training"


def run(python: Path, *arguments: str, settings: dict[str, str]) -> str:
    """What it prints; raises `subprocess.TimeoutExpired` if it hangs."""
    command, environment = [python, *arguments], os.environ | ENVIRONMENT | settings
    done = subprocess.run(
        command, env=environment, check=True, stdout=subprocess.PIPE, text=True, timeout=HANGS_AFTER_S
    )
    return done.stdout


def test_a_run_with_workers_ends_with_the_weights_of_the_run_from_the_local_shards(
    shards: str, bucket: str, server: S3Server, tiny_overrides: list[str], tmp_path: Path, python: Path
):
    overrides = [*tiny_overrides, *TWO_EPOCHS]
    train(load_recipe("starter", overrides=overrides), manifest=shards, run=tmp_path / "here")
    server.gate = requests = Requests()
    data, notes = f"{bucket}/{Path(shards).name}", tmp_path / "notes"
    options = ["--data", data, "--out", str(tmp_path / "there"), "--set", *overrides, "optim.workers=2"]
    run(python, "-c", TRAIN, str(notes), "starter", *options, settings=server.settings)
    assert_same_weights(tmp_path / "here", tmp_path / "there")

    (parent, _), *asked = [tuple(map(int, line.split())) for line in notes.read_text().splitlines()]
    loads = Counter(recordings for _, recordings in asked)
    assert loads == {ROWS_OF_A_PART: 2 * 2 * 2, VALIDATION_ROWS: VALIDATIONS}  # epochs, batches, workers
    workers = Counter(process for process, recordings in asked if recordings == ROWS_OF_A_PART)
    assert sorted(workers.values()) == [4, 4]
    assert parent not in {process for process, _ in asked}
    assert server.asked["GET /training/000.jsonl"] == 1  # by the parent, before it forked
    assert requests.ranges.total() == sum(recordings for _, recordings in asked)
    assert requests.whole == []
    assert requests.most_at_once > 4  # two workers, of which each asks for one recording after the other, reach 2


def test_a_fork_does_not_close_the_connections_of_its_parent(server: S3Server, python: Path):
    with ThreadingHTTPServer(("127.0.0.1", 0), Keeping) as keeping:
        keeping.daemon_threads = True
        threading.Thread(target=keeping.serve_forever, daemon=True).start()
        address = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{keeping.server_port}"}
        seconds = float(run(python, "-c", FORK, settings=server.settings | address))
        keeping.shutdown()
    assert seconds < 5  # s3fs notices after 15 s that a connection is dead
