"""What both dialects read and write alike: JSON bodies as models, and times."""

from datetime import UTC, datetime
from typing import TypeVar

from aiohttp import web
from pydantic import BaseModel, ValidationError

from httpapi.bodies import read_json
from storage.errors import Invalid
from storage.limits import Limits

M = TypeVar("M", bound=BaseModel)


async def read_model(request: web.Request, model: type[M], limits: Limits) -> M:
    """The JSON body as `model`; raises Invalid that names the first wrong field."""
    data = await read_json(request, limits.json_bytes)
    try:
        return model.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "body"
        raise Invalid(f"{where}: {first['msg']}. Check the request.") from error


def iso(micros: int) -> str:
    """UTC microseconds as the clients parse them: 2026-01-02T03:04:05.000Z."""
    return datetime.fromtimestamp(micros / 1e6, UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{micros // 1000 % 1000:03d}Z"
