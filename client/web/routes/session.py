"""The route that exchanges the token for a cookie, so that pictures and sounds load without the token."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from .. import models
from ..context import Here
from ..safety import client_of, cookie_of

router = APIRouter(tags=["session"])


@router.post("/session", status_code=204)
async def begin_session(given: models.Token, request: Request, here: Here) -> Response:
    """Exchange the token for a cookie, which scripts cannot read and other sites cannot send."""
    answer = Response(status_code=204)
    value = here.tokens.session(given.token, client=client_of(request.scope))
    is_secure = request.url.scheme == "https"
    answer.set_cookie(cookie_of(request.scope), value, path="/", httponly=True, samesite="strict", secure=is_secure)
    return answer
