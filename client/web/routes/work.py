"""Routes for jobs, uploads and events."""

import asyncio
import os
from typing import Annotated

from fastapi import APIRouter, Depends, File, UploadFile
from starlette.responses import StreamingResponse

from .. import models
from ..context import Here, may_change
from ..problems import Problem

router = APIRouter()


@router.post("/jobs", status_code=202, tags=["jobs"], dependencies=[Depends(may_change)])
async def start_job(new: models.NewJob, here: Here) -> models.Job:
    """Add files and folders of the server's machine; only clients on this machine may."""
    if not here.settings.is_local:
        raise Problem(403, "music can be added only on the server's own machine")
    paths = [os.path.expanduser(path) for path in new.paths]
    for path in paths:
        if "\0" in path or not os.path.isabs(path) or not await asyncio.to_thread(os.path.exists, path):
            raise Problem(422, f"{path}: there is no such file or folder; give its whole path")
    return here.jobs.start(paths)


@router.get("/jobs", tags=["jobs"])
async def list_jobs(here: Here) -> list[models.Job]:
    """All jobs, the newest first."""
    return here.jobs.all()


@router.get("/jobs/{job_id}", tags=["jobs"])
async def get_job(job_id: str, here: Here) -> models.Job:
    return here.jobs.job(job_id)


@router.delete("/jobs/{job_id}", tags=["jobs"], dependencies=[Depends(may_change)])
async def stop_job(job_id: str, here: Here) -> models.Job:
    """Stop a job; finished tracks are kept."""
    return here.jobs.stop(job_id)


@router.post("/uploads", status_code=201, tags=["search"])
async def upload(file: Annotated[UploadFile, File()], here: Here) -> models.Upload:
    """Upload a sound to search by: at most 64 MB and ten minutes, deleted after an hour."""
    return await here.uploads.add(file)


@router.get("/events", tags=["events"], response_class=StreamingResponse)
async def events(here: Here) -> StreamingResponse:
    """Server-sent events: "job" with a job, "library" and "map" with their states."""
    state = models.State(state=await here.state())
    return StreamingResponse(here.events.listen("library", state), media_type="text/event-stream")
