"""The captioners in a browser: a page that takes pictures, and the addresses that it calls.

    POST /captions?captions=2   a picture's bytes (application/octet-stream); parameters: `app.wanted.Wanted`
    {"captions": [{"model": "clipcap", "caption": "a man rides a horse", "score": -0.4, "mean": 0.7,
                   "lowest": 0.3, "words": [["a", 0.9], [" man", 0.8], ...]}, ...]}
    or, with status 4xx, {"error": "... is not a usable image"}
    GET /about, /samples/N      the captioners' names, what they learned from, doubts, and pictures to try

The server listens only on this machine's own address, keeps no picture, and refuses other web sites' pages
(`_stranger`). Each connection serves one request, which must arrive within UPLOAD_SECONDS. Requests that are
not valid HTTP get status 400 and are not logged.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from aiohttp import ClientPayloadError, web
from aiohttp.http import HttpProcessingError

from app import KINDS, load_captioner
from app.captioner import Captioner
from app.origin import doubts, learned_from, samples
from app.wanted import Wanted
from captioning.core.errors import UserError
from captioning.core.pictures import ImageFault

HOST, HOSTS = "127.0.0.1", ("127.0.0.1", "localhost")
PAGE = Path(__file__).parent / "page"
MOST_BYTES = 64 * 2**20
MOST_UPLOADS = 16  # requests at a time, being received or waiting for captions
UPLOAD_SECONDS = 30  # time for a client to send its request
END_SECONDS = 1  # time for running requests to end after an interrupt
BUSY = web.AppKey("busy", set)  # connections with a request in progress
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src blob: data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def serve(models: dict[str, str | Path], port: int) -> None:
    """Serves until interrupted. Raises UserError if no model can be loaded, or if the port is taken.

    Args:
        models: {name in the page's addresses: folder} of each captioner.
    """
    captioners, faults = {}, []
    for name, folder in models.items():
        try:
            captioners[name] = load_captioner(folder)
        except UserError as error:
            faults.append(str(error))
            print(f"{KINDS.get(name, name)} is not available: {error}", flush=True)
    if not captioners:
        raise UserError("; ".join(faults))
    try:
        asyncio.run(_until_interrupted(application(captioners), port))
    except KeyboardInterrupt:
        pass
    except OSError as error:
        if error.errno in (errno.EADDRINUSE, errno.EACCES):
            raise UserError(f"port {port} is taken or not allowed; choose another with --port") from None
        raise


def application(captioners: dict[str, Captioner]) -> web.Application:
    """The web application. Its captioners have the same training data and work on one picture at a time."""
    worker = ThreadPoolExecutor(1)
    uploads = asyncio.Semaphore(MOST_UPLOADS)
    folder = next(iter(captioners.values())).folder
    pictures = samples(folder)

    async def about(_: web.Request) -> web.Response:
        return web.json_response(
            {
                "captioners": {name: KINDS.get(name, name) for name in captioners},
                "learned": learned_from(folder),
                "doubts": doubts(folder),
                "samples": [path.name for path in pictures],
                "temperature": next(iter(captioners.values())).how.generate.diverse.temperature,
            }
        )

    async def sample(request: web.Request) -> web.StreamResponse:
        number = request.match_info["number"]
        if number not in map(str, range(len(pictures))):
            return fault(404, f"there are {len(pictures)} sample pictures")
        return web.FileResponse(pictures[int(number)])

    async def captions(request: web.Request) -> web.Response:
        # `content_type` of aiohttp has a default.
        if request.headers.get("Content-Type") != "application/octet-stream":
            return fault(
                415,
                "send the picture's bytes as application/octet-stream "
                "(curl: -H 'Content-Type: application/octet-stream')",
            )
        try:
            wanted = Wanted(request.query, captioners)
        except ValueError as error:
            return fault(400, str(error))
        if uploads.locked():
            return fault(503, f"{MOST_UPLOADS} pictures are being captioned; try again when one is done")
        async with uploads:
            content = await _content(request)
            if isinstance(content, web.Response):
                return content
            try:
                rows = await asyncio.get_running_loop().run_in_executor(worker, wanted.rows, content)
            except ImageFault as error:
                return fault(422, str(error))
        return web.json_response({"captions": rows})

    async def end(_: web.Application) -> None:
        worker.shutdown(wait=False, cancel_futures=True)

    app = web.Application(client_max_size=MOST_BYTES, middlewares=[own])
    app[BUSY] = set()
    app.on_shutdown.append(end)
    app.router.add_get("/about", about)
    app.router.add_get("/samples/{number}", sample)
    app.router.add_post("/captions", captions)
    for address, name in (("/", "index.html"), ("/app.css", "app.css"), ("/app.js", "app.js")):
        app.router.add_get(address, lambda _, name=name: web.FileResponse(PAGE / name))
    return app


async def _content(request: web.Request) -> bytes | web.Response:
    """The uploaded bytes, or an error response if the upload is too large, too slow or broken."""
    try:
        async with asyncio.timeout(UPLOAD_SECONDS):
            return await request.read()
    except web.HTTPRequestEntityTooLarge:
        return fault(413, f"the picture has more than {MOST_BYTES // 2**20} MB")
    except TimeoutError:
        return fault(408, f"the picture did not arrive within {UPLOAD_SECONDS} seconds")
    except (ClientPayloadError, HttpProcessingError, web.RequestPayloadError, ConnectionError):
        return fault(400, "the upload broke off or is not valid HTTP")


@web.middleware
async def own(request: web.Request, handler) -> web.StreamResponse:
    """Refuses requests from other sites, and closes the connection after every answer."""
    busy = request.app[BUSY]
    busy.add(request.protocol)
    try:
        response = _stranger(request) or await handler(request)
    except web.HTTPException as error:  # unknown address, or wrong method
        response = fault(error.status, f"{error.reason}: {request.method} {request.path}")
    finally:
        busy.discard(request.protocol)
    response.headers.update(HEADERS)
    response.force_close()
    return response


def _stranger(request: web.Request) -> web.Response | None:
    """The refusal of a request from another web site, or None.

    Another site may use a host name that resolves to this machine, or its page may post here.
    """
    refusal = fault(403, f"open this page at http://{HOST}; requests from other sites are refused")
    if request.host.rsplit(":", 1)[0] not in HOSTS:
        return refusal
    if request.method in ("GET", "HEAD"):  # the user followed a link; the other page cannot read the answer
        return None
    origins, sites = (request.headers.getall(name, []) for name in ("Origin", "Sec-Fetch-Site"))
    own_page = set(origins) <= {f"http://{request.host}"} and set(sites) <= {"same-origin", "none"}
    return None if own_page else refusal


def fault(status: int, message: str) -> web.Response:
    return web.json_response({"error": message}, status=status)


class _Malformed(logging.Filter):
    """Drops log tracebacks for requests that are not valid HTTP. The client gets status 400."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


async def _until_interrupted(app: web.Application, port: int) -> None:
    logger = logging.getLogger("app.web")
    logger.addFilter(_Malformed())
    runner = web.AppRunner(
        app,
        access_log=None,
        logger=logger,
        shutdown_timeout=END_SECONDS,
        auto_decompress=False,
        lingering_time=2,
    )
    await runner.setup()
    try:
        site = web.TCPSite(runner, HOST, port)
        await site.start()
        print(f"captions at http://{HOST}:{runner.addresses[0][1]}  (Ctrl-C ends it)", flush=True)
        await _close_silent(runner.server, app[BUSY])
    finally:
        await runner.cleanup()


async def _close_silent(server: web.Server, busy: set[asyncio.BaseProtocol]) -> None:
    """Closes connections that sent no request within UPLOAD_SECONDS. Runs until it is cancelled."""
    since: dict[asyncio.BaseProtocol, float] = {}
    while True:
        now = time.monotonic()
        since = {one: now if one in busy else since.get(one, now) for one in server.connections}
        for connection, start in since.items():
            if now - start > UPLOAD_SECONDS:
                connection.force_close()
        await asyncio.sleep(1)
