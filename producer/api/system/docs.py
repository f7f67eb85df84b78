"""The page at /docs: it loads what it needs from beside itself, below whatever path a proxy serves the API."""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import HTMLResponse

STATIC = "/static-offline-docs"


def serve_docs(app: FastAPI) -> None:
    """Have an app serve the page. `fastapi-offline` has its files, at `STATIC`, and a page that names them from /."""

    @app.get("/docs", include_in_schema=False)
    async def docs(request: Request) -> HTMLResponse:
        here = ".." if request.scope["raw_path"].endswith(b"/") else "."
        return get_swagger_ui_html(
            openapi_url=f"{here}{app.openapi_url}",
            title=f"{app.title} - Swagger UI",
            swagger_js_url=f"{here}{STATIC}/swagger-ui-bundle.js",
            swagger_css_url=f"{here}{STATIC}/swagger-ui.css",
            swagger_favicon_url=f"{here}{STATIC}/favicon.png",
        )
