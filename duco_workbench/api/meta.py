"""The meta API box of the drawing: the catalog over HTTP. It alone opens the catalog's database.

Every refusal is ``{"detail": "one sentence that says what to do"}``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import SQLAlchemyError
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .. import __version__
from ..catalog.databases import MAX_BYTES
from ..catalog.engine import Catalog, revision
from ..catalog.refusals import Conflict, TooLarge, Unknown
from ..errors import ConfigError, ServiceError
from ..iothub.service import HubService
from ..ops import Process
from . import hub_routes
from .meta_routes import ROUTERS
from .observed import observe

MAX_BODY = 2 * MAX_BYTES  # JSON escapes make a text longer
TOO_LARGE = f"the request is larger than {MAX_BODY >> 20} MB; a database file may have {MAX_BYTES >> 20} MB"
_STATUS: dict[type[Exception], int] = {Unknown: 404, Conflict: 409, TooLarge: 413, ConfigError: 422, ServiceError: 503}


def create_app(catalog_url: str | None = None, hub: HubService | None = None) -> FastAPI:
    """The application on the catalog at ``catalog_url``, by default the settings'; migrates it first.

    Without a ``hub`` its paths answer 503; one that is given is closed with the application.

    Raises: ConfigError (the address), ServiceError (the database is away).
    """
    catalog = Catalog(catalog_url or _configured())
    process = Process("meta")
    process.check(lambda: _trouble(catalog))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with process.serving():
            yield
        catalog.close()
        if hub:
            hub.close()

    app = FastAPI(title="DUCO Workbench meta API", version=__version__, lifespan=lifespan)
    app.state.catalog = catalog
    observe(app, process)
    for router in ROUTERS:
        app.include_router(router)
    hub_routes.mount(app, hub)
    for error, status in {**_STATUS, **hub_routes.STATUS}.items():
        app.add_exception_handler(error, _refusal(status))
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(SQLAlchemyError, _database_failed)
    app.add_middleware(BodyLimit)
    return app


def serve(host: str, port: int, catalog_url: str, hub: str = "", hub_ca: str = "") -> None:
    """Run until SIGTERM or SIGINT, without an IoT hub where ``hub`` is "".

    Raises: as :func:`create_app` and :class:`HubService`.
    """
    import uvicorn

    service = HubService(hub, hub_ca) if hub else None
    uvicorn.run(
        create_app(catalog_url, service), host=host, port=port, log_config=None, access_log=False, lifespan="on"
    )


def _trouble(catalog: Catalog) -> str | None:
    try:
        with catalog.reading() as session:
            revision(session)
        return None
    except SQLAlchemyError as error:
        return _away(error)


def _configured() -> str:
    from ..settings import Settings

    return Settings.load().catalog_url


def _answer(status: int, sentence: str) -> JSONResponse:
    return JSONResponse({"detail": sentence}, status)


def _refusal(status: int) -> Callable[[Request, Exception], Awaitable[JSONResponse]]:
    async def handler(_: Request, error: Exception) -> JSONResponse:
        return _answer(status, str(error))

    return handler


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return _answer(422, f"{where}: {first['msg']}; /docs says what it takes")


async def _database_failed(_: Request, error: Exception) -> JSONResponse:
    return _answer(503, f"{_away(error)}; try again")


def _away(error: Exception) -> str:
    return f"the catalog's database does not answer: {getattr(error, 'orig', None) or error}"


class BodyLimit:
    """Refuses a body of more than ``MAX_BODY`` before it is in memory, whatever its headers say."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        size = 0

        async def counted() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > MAX_BODY:
                raise HTTPException(413, TOO_LARGE)
            return message

        await self.app(scope, counted, send)
