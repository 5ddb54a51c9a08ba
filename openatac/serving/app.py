"""The web application: POST /predict classifies an image, / serves a page, /health reports the status."""
from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.exceptions import HTTPException as StarletteHTTPException

from openatac.data.images.source import BadImageError
from openatac.errors import OpenatacError
from openatac.files.reading import MEGABYTE
from openatac.inference.predictor import TOP
from openatac.limits import MAX_CLASSES
from openatac.pages import fill_page
from openatac.serving.classifier import Classifier
from openatac.serving.request_limits import Refusal
from openatac.text import for_html


def create_app(classifier: Classifier) -> FastAPI:
    """Return the application that answers requests with a `Classifier`."""
    app = FastAPI(title='openatac', docs_url=None, redoc_url=None)  # those pages load scripts from elsewhere
    limits, manifest = classifier.limits, classifier.predictor.manifest
    html = fill_page(__package__, model=for_html(manifest.model), classes=f'{manifest.classes:,}',
                     megabytes=f'{limits.bytes / MEGABYTE:g}', bytes=str(limits.bytes),
                     gates=str(classifier.gates is not None).lower())
    requests = 0

    @app.get('/', response_class=HTMLResponse)
    async def page() -> str:
        return html

    @app.get('/health')
    async def health() -> dict[str, Any]:
        return {'status': 'ok', 'model': manifest.model, 'classes': manifest.classes,
                'gates': classifier.gates is not None, 'requests': requests}

    @app.post('/predict')
    async def predict(request: Request, top: Annotated[int, Query(ge=1, le=MAX_CLASSES)] = TOP,
                      gates: bool = False) -> dict[str, Any]:
        nonlocal requests
        if requests >= limits.requests:
            raise Refusal(503, f'{requests} requests are being answered: try again later')
        requests += 1
        try:
            return await asyncio.wait_for(_answer(classifier, request, top, gates), limits.seconds)
        except asyncio.TimeoutError:
            raise Refusal(503, f'the answer took more than {limits.seconds:g} s: try again later') from None
        finally:
            requests -= 1

    _answer_errors_in_json(app)
    return app


async def _answer(classifier: Classifier, request: Request, top: int, gates: bool) -> dict[str, Any]:
    return await classifier.classify(await _read_body(request, classifier.limits.bytes), top, gates)


async def _read_body(request: Request, limit: int) -> bytes:
    """Return the body of a request; Refusal if it is a form with files, or larger than the limit."""
    if request.headers.get('content-type', '').startswith('multipart/'):
        raise Refusal(415, 'the body is a form: send only the bytes of the image, with its Content-Type, '
                           'such as image/jpeg')
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > limit:
            raise Refusal(413, f'the file has more than the {limit:,} bytes allowed: send a smaller one')
    return bytes(data)


def _answer_errors_in_json(app: FastAPI) -> None:
    """Answer every error with {"error": a sentence}."""
    def on(kind: type[Exception], status: Callable[[Any], int], text: Callable[[Any], str] = str) -> None:
        async def answer(request: Request, error: Exception) -> JSONResponse:
            return JSONResponse({'error': text(error)}, status(error),
                                {'Retry-After': '1'} if status(error) == 503 else None)

        app.add_exception_handler(kind, answer)

    on(Refusal, lambda error: error.status)
    on(BadImageError, lambda error: 422, lambda error: f'the image cannot be used: {error}')
    on(OpenatacError, lambda error: 500)
    on(StarletteHTTPException, lambda error: error.status_code, lambda error: error.detail)
    on(RequestValidationError, lambda error: 422, lambda error: '; '.join(
        f'{each["loc"][-1]}: {each["msg"]}, not {each["input"]!r}' for each in error.errors()))
