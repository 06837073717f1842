"""Routes for the map, which shows all tracks as points."""

import asyncio
import json
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Query
from starlette.responses import Response

from ...results import LibraryMap
from .. import models
from ..context import Here
from ..problems import Problem
from ..shown import cut

router = APIRouter(prefix="/map", tags=["map"])


@router.get("", response_class=Response, responses={200: {"model": models.Map}})
async def get_map(here: Here, by: Annotated[str | None, Query(min_length=1, max_length=200)] = None) -> Response:
    """Points from -1 to 1, with similar tracks close together, and a field's values; empty while it is computed."""
    drawn = await here.maps.get(state=await here.state(), by=by)
    return Response(await asyncio.to_thread(_as_json, drawn), media_type="application/json")


@router.post("/fits")
async def get_fits(asked: models.Words, here: Here) -> models.Fits:
    """How well each track fits a text, in the order of the map's points."""
    drawn = await here.maps.get(state=await here.state(), fits=asked.text)
    if drawn is None:
        raise Problem(503, "the map is being drawn: try again in a moment", kind="map", headers={"Retry-After": "4"})
    return models.Fits(fits=drawn.values or [])


def _as_json(drawn: LibraryMap | None) -> bytes:
    """The map as JSON, made without a pydantic model, because there may be a million numbers."""
    if drawn is None:
        return json.dumps({"state": "computing", "ids": [], "x": [], "y": []}).encode()
    x, y = np.round(drawn.points.T.astype(np.float64), 4).tolist() if len(drawn.points) else ([], [])
    document = {"state": "ready", "ids": drawn.track_ids, "x": x, "y": y}
    if drawn.values is not None:
        document["colour"] = {"values": [cut(value) for value in drawn.values]}
    return json.dumps(document, separators=(",", ":")).encode()
