"""/docs without loading anything from another host."""

from importlib.resources import files

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles

ASSETS = files("fastapi_standalone_docs") / "static"


def install_docs(app: FastAPI) -> None:
    page = get_swagger_ui_html(
        openapi_url=app.openapi_url or "",
        title=app.title,
        swagger_js_url="/docs/assets/swagger/swagger-ui-bundle.js",
        swagger_css_url="/docs/assets/swagger/swagger-ui.css",
        swagger_favicon_url="/docs/assets/fastapi/favicon.png",
        # Swagger UI would send the document to its makers' validator.
        swagger_ui_parameters={"validatorUrl": None},
    )

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return page

    app.mount("/docs/assets", StaticFiles(directory=str(ASSETS)))
