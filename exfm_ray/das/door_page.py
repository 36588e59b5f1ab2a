"""The door's OpenAPI document as a page that needs nothing from elsewhere."""

import json
import shlex
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from exfm_ray.das.request_rows import ARROW

TEMPLATE = "door_page.html.j2"


def door_page(document: dict[str, Any], address: str) -> str:
    """HTML.

    Args:
        document: of `openapi_document`.
        address: that the client used, such as `http://127.0.0.1:8000`.
    """
    environment = Environment(
        loader=PackageLoader("exfm_ray.das", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    operations = [
        {"method": method.upper(), "path": path, "examples": _examples(document, method, path, address), **operation}
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    return environment.get_template(TEMPLATE).render(document=document, operations=operations)


def _examples(document: dict[str, Any], method: str, path: str, address: str) -> list[str]:
    """A curl command for each media type that the operation takes."""
    operation = document["paths"][path][method]
    asks_token = bool(operation.get("security", document.get("security")))
    words = ["curl -sS", *(['-H "authorization: Bearer $EXFM_TOKEN"'] if asks_token else [])]
    bodies = operation.get("requestBody", {}).get("content")
    if bodies is None:
        return [" ".join([*words, f"{address}{path}"])]
    commands = []
    for media_type, body in bodies.items():
        sent = "--data-binary @rows.arrows -o answer.arrows"
        if media_type != ARROW:
            sent = f"-d {shlex.quote(json.dumps(body['example']))}"
        commands.append(" ".join([*words, f"-H 'content-type: {media_type}'", sent, f"{address}{path}"]))
    return commands
