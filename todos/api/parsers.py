"""JSON bodies of bounded size and depth."""

from io import BytesIO
from typing import IO, Any

from rest_framework import status
from rest_framework.exceptions import APIException, ParseError
from rest_framework.parsers import BaseParser, JSONParser

from edge_api.contract import MAX_BODY_BYTES


class BodyTooLarge(APIException):
    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_detail = f"The body must be at most {MAX_BODY_BYTES:,} bytes."
    default_code = "body_too_large"


class BoundedJSONParser(BaseParser):
    """Reads no more bytes than the edge does, and answers 400 to a body that is nested too deeply.

    It does not inherit from JSONParser: REST framework would read such a body first, and answer a large one with
    Django's HTML page.
    """

    media_type = JSONParser.media_type
    renderer_class = JSONParser.renderer_class

    def parse(self, stream: IO[Any], media_type: str | None = None, parser_context: Any = None) -> Any:
        """Return the parsed body. Raises BodyTooLarge or ParseError."""
        body = stream.read(MAX_BODY_BYTES + 1)
        if len(body) > MAX_BODY_BYTES:
            raise BodyTooLarge
        try:
            return JSONParser().parse(BytesIO(body), media_type, parser_context)
        except RecursionError:
            raise ParseError("JSON parse error - nested too deeply") from None
