"""How fast does the page answer, for how many people, and what does it weigh?"""

import asyncio
import itertools
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx2
import numpy as np
import soundfile
from numpy.typing import NDArray
from playwright.sync_api import sync_playwright

from bench.retrieval import CACHE
from client import MusicSearch
from client.encoders import open_encoder
from client.index import schema
from client.index.fields import Value
from client.index.records import FileState, NewTrack, TrackVectors
from demo.__main__ import COLLECTION, read_queries

TITLE = "The page"
SIZES = (10_000, 100_000)
USERS = (1, 8, 32)
PAUSE_S = 1.0  # after an answer, before the same user asks again
MEASURED_S = 30.0
ADDED_AT_ONCE = 8
WINDOWS = 6  # a track of a minute
SPREAD = 0.5  # length of the noise that makes a track of one of the demo's
GENRES = ("jazz", "rock", "techno", "folk", "classical", "ambient", "hip hop", "metal", "reggae", "latin")
STAY_S = 20 * 60.0
_FRAMES = """async () => {
    const over = document.querySelector(".map-over"), box = over.getBoundingClientRect(), took = [];
    for (const began = performance.now(); performance.now() - began < 5000; ) {
        const deltaY = took.length % 40 < 20 ? -30 : 30, at = performance.now();
        over.dispatchEvent(new WheelEvent("wheel", { deltaY, clientX: box.x + 400, clientY: box.y + 300, bubbles: true,
            cancelable: true }));
        await new Promise(requestAnimationFrame);
        took.push(performance.now() - at);
    }
    took.sort((a, b) => a - b);
    return { per_s: took.length / 5, slow_ms: took[Math.floor(took.length * 0.95)] };
}"""


def measure() -> str:
    lines = [
        f"Made-up libraries: tracks of {WINDOWS} windows around the vectors of the demo's, with titles, artists, "
        "genres and years. `music-search web` serves them and is asked on the same machine for 20 hits with their "
        f"windows. A user asks, reads for {PAUSE_S:g} s, and asks again: half of the time a description, half of the "
        "time the beginning of one, as while typing.",
        "",
        "| tracks | adding music meanwhile | users | p50 | p95 | p99 |",
        "|---|---|---|---|---|---|",
    ]
    for tracks in SIZES:
        library = make_library(tracks)
        with serving(library) as (address, _):
            for is_adding in (False, True):
                for users in USERS:
                    took_ms = asyncio.run(_load(address, users=users, is_adding=is_adding))
                    cells = [f"{np.percentile(took_ms, share):.0f} ms" for share in (50, 95, 99)]
                    lines.append(f"| {tracks:,} | {'yes' if is_adding else ''} | {users} | {' | '.join(cells)} |")
    with serving(make_library(SIZES[-1])) as (address, _):
        lines += ["", _look(address)]
    with serving(make_library(SIZES[0])) as (address, server):
        sizes_mb = asyncio.run(_stay(address, server))
    lines += [
        "",
        f"Memory of the server with {SIZES[0]:,} tracks and eight users: {sizes_mb[1]:.0f} MB after two minutes, "
        f"{sizes_mb[-1]:.0f} MB after {STAY_S / 60:.0f}.",
    ]
    return "\n".join(lines)


def make_library(tracks: int) -> Path:
    """In the cache; made where it is not there yet, or was made with another model."""
    folder = CACHE / f"web-{tracks}-{_fingerprint()[:8]}-{schema.VERSION}"
    done = folder / "complete"
    if done.exists():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    rng = np.random.default_rng(0)
    with MusicSearch(folder) as ms:
        near = ms.embed_audio(sorted(COLLECTION.glob("*.opus")))
        words = sorted({word for query in read_queries() for word in query.text.split()})
        artists = [" ".join(rng.choice(words, 2)).title() for _ in range(tracks // 12)]
        starts_s = np.arange(WINDOWS, dtype=np.float32) * 10
        for start in range(0, tracks, 1000):
            group = []
            for number in range(start, min(start + 1000, tracks)):
                noise = rng.normal(size=(WINDOWS, near.shape[1])) * SPREAD / np.sqrt(near.shape[1])
                windows = _unit(near[rng.integers(len(near))] + noise)
                file = FileState(f"/music/{number // 12:05d}/{number:06d}.flac", 1, 1, f"sound:{number}")
                tags: dict[str, Value] = {
                    "title": " ".join(rng.choice(words, rng.integers(1, 4))).title(),
                    "artist": artists[number // 12 % len(artists)],
                    "genre": GENRES[rng.integers(len(GENRES))],
                    "year": int(rng.integers(1960, 2026)),
                }
                group.append(NewTrack(file, 60.0, TrackVectors(_unit(windows.mean(axis=0)), starts_s, windows), tags))
            ms._catalogue.put(group)
        ms.add(COLLECTION, progress=False)  # saves the index too
        ms.map()
    done.touch()
    return folder


@cache
def _fingerprint() -> str:
    with closing(open_encoder()) as encoder:
        return encoder.spec.fingerprint


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    unit: NDArray[np.float32] = (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)
    return unit


@contextmanager
def serving(library: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The page's server on a free port, and its process."""
    command = [
        sys.executable,
        "-c",
        "from client.cli import main; main()",
        "web",
        str(library),
        "--port",
        "0",
        "--no-open",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as server:
        try:
            assert server.stdout is not None
            for line in server.stdout:
                if found := re.search(r"http://\S+/", line):
                    yield found[0], server
                    break
        finally:
            server.terminate()


async def _load(address: str, *, users: int, is_adding: bool) -> list[float]:
    """How long the answers took in ms."""
    took_ms: list[float] = []
    ends_at = time.monotonic() + MEASURED_S
    limits = httpx2.Limits(max_connections=users + 1)
    async with httpx2.AsyncClient(base_url=f"{address}api/v1", limits=limits, timeout=60.0) as client:
        await _ask(client, "piano")  # opens the index
        with TemporaryDirectory() as folder:
            adding = asyncio.create_task(_keep_adding(client, Path(folder), ends_at)) if is_adding else None
            await asyncio.gather(*(_use(client, user, ends_at, took_ms) for user in range(users)))
            if adding:
                await adding
    return took_ms


async def _use(client: httpx2.AsyncClient, user: int, ends_at: float, took_ms: list[float]) -> None:
    rng = np.random.default_rng(user)
    queries = [query.text for query in read_queries()]
    await asyncio.sleep(rng.uniform(0, PAUSE_S))
    while time.monotonic() < ends_at:
        text = queries[rng.integers(len(queries))]
        if rng.random() < 0.5:
            text = text[: rng.integers(3, len(text))]
        began_at = time.perf_counter()
        await _ask(client, f"{text} {rng.integers(1 << 32):x}")  # a text that nobody has asked yet
        took_ms.append(1e3 * (time.perf_counter() - began_at))
        await asyncio.sleep(PAUSE_S)


async def _ask(client: httpx2.AsyncClient, text: str) -> None:
    answer = await client.post("/search", json={"texts": [{"text": text}], "limit": 20})
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["hits"]) == 20


async def _keep_adding(client: httpx2.AsyncClient, folder: Path, ends_at: float) -> None:
    """New files of 12 s, a few at a time, so that decoders, model and catalogue are at work all the time."""
    for number in itertools.count():
        if time.monotonic() > ends_at:
            return
        paths = [_write_chord(folder / f"{number}-{part}.wav", seed=[number, part]) for part in range(ADDED_AT_ONCE)]
        answer = await client.post("/jobs", json={"kind": "add", "paths": paths})
        assert answer.status_code == 202, answer.text
        while (await client.get(f"/jobs/{answer.json()['id']}")).json()["state"] == "running":
            await asyncio.sleep(0.2)


def _write_chord(path: Path, *, seed: list[int]) -> str:
    rng = np.random.default_rng(seed)
    at_s = np.arange(12 * 16_000) / 16_000
    tones = sum(np.sin(2 * np.pi * hz * at_s) for hz in rng.uniform(80, 2000, 5))
    soundfile.write(path, 0.1 * tones, 16_000)
    return str(path)


def _look(address: str) -> str:
    """What a browser says of the page."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        paints_ms = []
        for _ in range(5):
            page.goto("about:blank")
            page.goto(f"{address}#/?q=piano")
            page.wait_for_selector(".row[data-track]", timeout=60_000)
            paints_ms.append(page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime"))
        fetched = page.evaluate(
            "performance.getEntriesByType('resource').filter(one => one.name.includes('/page/'))"
            ".reduce((sum, one) => [sum[0] + one.encodedBodySize, sum[1] + one.decodedBodySize], [0, 0])"
        )
        page.goto(f"{address}#/map")
        page.wait_for_selector(".map-over", timeout=60_000)
        page.wait_for_function("document.querySelector('#map-hint')?.textContent", timeout=600_000)
        frames = page.evaluate(_FRAMES)
        browser.close()
    sent, unpacked = (size / 1000 for size in fetched)
    return (
        f"Chromium, without a graphics card: first paint {statistics.median(paints_ms):.0f} ms, {sent:.0f} kB sent "
        f"({unpacked:.0f} kB unpacked); the map of {SIZES[-1]:,} tracks is drawn {frames['per_s']:.0f} times a second "
        f"while it is zoomed, the slowest of 20 frames in {frames['slow_ms']:.0f} ms."
    )


async def _stay(address: str, server: subprocess.Popen[str]) -> list[float]:
    """Resident memory of the server in MB, once a minute, while eight people use it."""
    sizes_mb: list[float] = []
    ends_at = time.monotonic() + STAY_S

    async def watch() -> None:
        while time.monotonic() < ends_at:
            await asyncio.sleep(60.0)
            pages = int(Path(f"/proc/{server.pid}/statm").read_text().split()[1])
            sizes_mb.append(pages * os.sysconf("SC_PAGE_SIZE") / 1e6)

    async with httpx2.AsyncClient(base_url=f"{address}api/v1", timeout=60.0) as client:
        await asyncio.gather(watch(), *(_use(client, user, ends_at, []) for user in range(8)))
    return sizes_mb
