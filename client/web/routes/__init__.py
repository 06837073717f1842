"""The routes of the API, with one file for each concern."""

from fastapi import APIRouter

from . import journeys, library, maps, playlists, searching, session, sound, tracks, work

ROUTERS: list[APIRouter] = [
    library.router,
    searching.router,
    tracks.router,
    sound.router,
    work.router,
    playlists.router,
    journeys.router,
    maps.router,
    session.router,
]
