"""The captioners in a browser: a page that takes pictures, and the one address that it asks.

    POST /captions?captioner=clipcap&captions=1        an image file's bytes, as application/octet-stream
    {"captions": ["a man rides a horse"]}              or, with status 4xx, {"error": "... is not a usable image"}

It listens on this machine's own address alone, keeps no picture, and answers no other web site's pages: they can
neither send that content type unasked nor reach it under another name (`own`).
"""

from __future__ import annotations

import asyncio
import errno
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from aiohttp import web

from app.captioner import KINDS, PictureCaptioner
from captioning.core import settings as schema
from captioning.core.errors import UserError
from captioning.core.pictures import ImageFault
from captioning.features.images import Preprocess, decode
from captioning.features.pixels import ImageFiles

HOST, HOSTS = "127.0.0.1", ("127.0.0.1", "localhost")
PAGE = Path(__file__).parent / "page"
MOST_BYTES, MOST_CAPTIONS = 64 * 2**20, 20
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src blob: data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class Sent(ImageFiles):
    """A picture that came as bytes."""

    def __init__(self, content: bytes, preprocess: Preprocess) -> None:
        super().__init__(["the picture"], preprocess)
        self.content = content

    def pixels(self, row: int) -> np.ndarray:
        return decode(self.content, self.preprocess, self.paths[row])


def serve(settings: schema.Settings, port: int) -> None:
    """Serves until it is interrupted. Raises UserError when nothing is trained, or the port is taken."""
    captioners, faults = {}, []
    for kind in KINDS:
        try:
            captioners[kind] = PictureCaptioner(kind, settings)
        except UserError as error:
            faults.append(str(error))
            print(f"without {KINDS[kind]}: {error}", flush=True)
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


def application(captioners: dict[str, PictureCaptioner]) -> web.Application:
    """The page of these captioners, which work on one picture at a time."""
    worker = ThreadPoolExecutor(1)

    async def trained(_: web.Request) -> web.Response:
        return web.json_response({kind: KINDS[kind] for kind in captioners})

    async def captions(request: web.Request) -> web.Response:
        if request.content_type != "application/octet-stream":
            return fault(415, "send the picture's bytes as application/octet-stream")
        captioner = captioners.get(request.query.get("captioner", next(iter(captioners))))
        if captioner is None:
            return fault(400, f"captioner must be one of {', '.join(captioners)}")
        count = request.query.get("captions", "1")
        if not (count.isascii() and count.isdigit() and 1 <= int(count) <= MOST_CAPTIONS):
            return fault(400, f"captions must be a whole number from 1 to {MOST_CAPTIONS}")
        try:
            content = await request.read()
        except web.HTTPRequestEntityTooLarge:
            return fault(413, f"the picture has more than {MOST_BYTES // 2**20} MB")
        picture = Sent(content, captioner.encoder.preprocess)
        try:
            found = await asyncio.get_running_loop().run_in_executor(
                worker, lambda: next(captioner(picture, int(count)))
            )
        except ImageFault as error:
            return fault(422, str(error))
        return web.json_response({"captions": found})

    app = web.Application(client_max_size=MOST_BYTES, middlewares=[own])
    app.router.add_get("/captioners", trained)
    app.router.add_post("/captions", captions)
    for address, name in (("/", "index.html"), ("/app.css", "app.css"), ("/app.js", "app.js")):
        app.router.add_get(address, lambda _, name=name: web.FileResponse(PAGE / name))
    return app


@web.middleware
async def own(request: web.Request, handler) -> web.StreamResponse:
    """Refuses who reached this machine under another name: a web site's, whose address was changed to this one."""
    if request.host.rsplit(":", 1)[0] not in HOSTS:
        return fault(403, f"open this page at http://{HOST}")
    response = await handler(request)
    response.headers.update(HEADERS)
    return response


def fault(status: int, message: str) -> web.Response:
    return web.json_response({"error": message}, status=status)


async def _until_interrupted(app: web.Application, port: int) -> None:
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, HOST, port)
        await site.start()
        print(f"captions at http://{HOST}:{runner.addresses[0][1]}  (Ctrl-C ends it)", flush=True)
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()
