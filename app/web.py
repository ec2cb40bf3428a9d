"""The captioners in a browser: a page that takes pictures, and the addresses that it asks.

    POST /captions?captions=2       a picture's bytes, as application/octet-stream; all parameters: `app.wanted.Wanted`
    {"captions": [{"model": "clipcap", "caption": "a man rides a horse", "score": -0.4, "mean": 0.7, "lowest": 0.3,
                   "words": [["a", 0.9], [" man", 0.8], ...]}, ...]}
    or, with status 4xx, {"error": "... is not a usable image"}
    GET /about, /samples/N          the captioners' names, what they learned from, and test pictures to try

It listens on this machine's own address alone, keeps no picture, and answers no other web site's pages (`_stranger`).
Each connection serves one request and has UPLOAD_SECONDS for it. Clients may send anything: what is no HTTP is answered
by status 400 and not logged.
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
from app.origin import learned_from, samples
from app.wanted import Wanted
from captioning.core.errors import UserError
from captioning.core.pictures import ImageFault

HOST, HOSTS = "127.0.0.1", ("127.0.0.1", "localhost")
PAGE = Path(__file__).parent / "page"
MOST_BYTES = 64 * 2**20
MOST_UPLOADS = 16  # at a time, received or waiting for their captions
UPLOAD_SECONDS = 30  # that a client has to send its request
END_SECONDS = 1  # that requests have to end when the server is interrupted
BUSY = web.AppKey("busy", set)  # the connections whose request is being answered
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src blob: data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def serve(models: dict[str, str | Path], port: int) -> None:
    """Serves until it is interrupted. Raises UserError when no model can be loaded, or the port is taken.

    Args:
        models: what the page's addresses call each captioner: its folder.
    """
    captioners, faults = {}, []
    for name, folder in models.items():
        try:
            captioners[name] = load_captioner(folder)
        except UserError as error:
            faults.append(str(error))
            print(f"without {KINDS.get(name, name)}: {error}", flush=True)
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
    """The page of these captioners, which work on one picture at a time and learned from the same data."""
    worker = ThreadPoolExecutor(1)
    uploads = asyncio.Semaphore(MOST_UPLOADS)
    folder = next(iter(captioners.values())).folder
    pictures = samples(folder)

    async def about(_: web.Request) -> web.Response:
        return web.json_response(
            {
                "captioners": {name: KINDS.get(name, name) for name in captioners},
                "learned": learned_from(folder),
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
        if request.headers.get("Content-Type") != "application/octet-stream":  # aiohttp's content_type has a default
            return fault(415, "send the picture's bytes as application/octet-stream")
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
    """What was sent, or the answer to an upload that is too large, too slow or broken."""
    try:
        async with asyncio.timeout(UPLOAD_SECONDS):
            return await request.read()
    except web.HTTPRequestEntityTooLarge:
        return fault(413, f"the picture has more than {MOST_BYTES // 2**20} MB")
    except TimeoutError:
        return fault(408, f"the picture did not arrive within {UPLOAD_SECONDS} seconds")
    except (ClientPayloadError, HttpProcessingError, web.RequestPayloadError, ConnectionError):
        return fault(400, "the upload broke off or is no valid HTTP")


@web.middleware
async def own(request: web.Request, handler) -> web.StreamResponse:
    """Refuses strangers, and ends the connection of every answer."""
    busy = request.app[BUSY]
    busy.add(request.protocol)
    try:
        response = _stranger(request) or await handler(request)
    except web.HTTPException as error:  # no such address, or not by this method
        response = fault(error.status, f"{error.reason}: {request.method} {request.path}")
    finally:
        busy.discard(request.protocol)
    response.headers.update(HEADERS)
    response.force_close()
    return response


def _stranger(request: web.Request) -> web.Response | None:
    """The refusal of another web site, which may come under another name that leads here, or post by its own page."""
    refusal = fault(403, f"open this page at http://{HOST}; other sites' pages are not answered")
    if request.host.rsplit(":", 1)[0] not in HOSTS:
        return refusal
    if request.method in ("GET", "HEAD"):  # a link that leads here; its page cannot read the answer
        return None
    origins, sites = (request.headers.getall(name, []) for name in ("Origin", "Sec-Fetch-Site"))
    own_page = set(origins) <= {f"http://{request.host}"} and set(sites) <= {"same-origin", "none"}
    return None if own_page else refusal


def fault(status: int, message: str) -> web.Response:
    return web.json_response({"error": message}, status=status)


class _Malformed(logging.Filter):
    """Drops tracebacks of requests that are no valid HTTP: the client has its status 400."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


async def _until_interrupted(app: web.Application, port: int) -> None:
    logger = logging.getLogger("app.web")
    logger.addFilter(_Malformed())
    runner = web.AppRunner(
        app, access_log=None, logger=logger, shutdown_timeout=END_SECONDS, auto_decompress=False, lingering_time=2
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
    """Closes connections that are open for UPLOAD_SECONDS and have sent no request. Runs until it is cancelled."""
    since: dict[asyncio.BaseProtocol, float] = {}
    while True:
        now = time.monotonic()
        since = {one: now if one in busy else since.get(one, now) for one in server.connections}
        for connection, start in since.items():
            if now - start > UPLOAD_SECONDS:
                connection.force_close()
        await asyncio.sleep(1)
