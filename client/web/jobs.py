"""Background jobs that add music to the library."""

import asyncio
import logging
import secrets
import threading
from dataclasses import asdict

from ..asynchronous import AsyncMusicSearch
from ..errors import MusicSearchError
from . import models
from .events import Events
from .problems import Problem

_KEPT = 20  # jobs that are listed
_TOLD_EVERY_S = 0.2
_LOOKING = "looking for files"

log = logging.getLogger(__name__)


class _Stopped(Exception):
    """Raised to stop adding; finished tracks are kept."""


class Jobs:
    """Runs jobs that add music, one at a time, in a thread that reports its progress."""

    def __init__(self, library: AsyncMusicSearch, events: Events) -> None:
        self._library = library
        self._events = events
        self._jobs: dict[str, models.Job] = {}
        self._stop = threading.Event()
        self._running: asyncio.Task[None] | None = None

    def all(self) -> list[models.Job]:
        """All jobs, the newest first."""
        return list(reversed(self._jobs.values()))

    def job(self, job_id: str) -> models.Job:
        """The job with this id; raises `Problem` if there is none."""
        if job_id not in self._jobs:
            raise Problem(404, "there is no such job: the server was restarted, or the job ended long ago")
        return self._jobs[job_id]

    def start(self, paths: list[str]) -> models.Job:
        """Start a job that adds these paths; raises `Problem` while another job runs."""
        if self._running is not None and not self._running.done():
            raise Problem(409, "another job is adding music: wait until it ends, or stop it", kind="job-running")
        job_id = secrets.token_hex(8)
        job = models.Job(
            id=job_id, kind="add", paths=paths, state="running", done=0, total=0, message=_LOOKING, report=None
        )
        self._jobs[job_id] = job
        while len(self._jobs) > _KEPT:
            del self._jobs[next(iter(self._jobs))]
        self._stop = threading.Event()
        self._running = asyncio.create_task(self._run(job, paths))
        return job

    def stop(self, job_id: str) -> models.Job:
        """Ask a job to stop, which it does soon after; finished tracks are kept."""
        job = self.job(job_id)
        if job.state == "running":
            self._stop.set()
        return job

    async def end(self) -> None:
        """Stop the running job, and wait for it."""
        self._stop.set()
        if self._running is not None:
            await self._running

    async def _run(self, job: models.Job, paths: list[str]) -> None:
        loop, stop = asyncio.get_running_loop(), self._stop
        told_at = 0.0

        def tell(done: int, total: int) -> None:
            nonlocal told_at
            job.done, job.total = done, total
            job.message = "" if total else _LOOKING
            if done == total > 0 or loop.time() - told_at > _TOLD_EVERY_S:
                told_at = loop.time()
                self._events.publish("job", job)

        def on_progress(done: int, total: int) -> None:
            if stop.is_set():
                raise _Stopped
            loop.call_soon_threadsafe(tell, done, total)

        self._events.publish("job", job)
        try:
            report = await self._library.add(paths, progress=False, on_progress=on_progress)
            job.state, job.message, job.report = "done", "", asdict(report)
        except _Stopped:
            where = f"after {job.done} of {job.total} files, which are kept" if job.total else f"while {_LOOKING}"
            job.state, job.message = "stopped", f"stopped {where}"
        except MusicSearchError as exc:
            job.state, job.message = "failed", str(exc)
        except Exception as exc:  # nobody awaits a job, so it must report errors itself
            log.error("adding failed", exc_info=exc)
            job.state, job.message = "failed", "the server failed; its log says why"
        self._events.publish("job", job)
