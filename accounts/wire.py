"""What the account routes read and write, as upstream KohakuHub and huggingface.co spell it."""

from datetime import UTC, datetime
from typing import Any, TypeVar

from aiohttp import web
from pydantic import BaseModel, SecretStr, ValidationError

from accounts.tokens import Token
from httpapi.bodies import read_json
from storage.errors import Invalid
from storage.limits import Limits
from storage.records import Principal, Scope


class Register(BaseModel):
    username: str
    email: str
    password: SecretStr


class Login(BaseModel):
    username: str
    password: SecretStr


class CreateToken(BaseModel):
    name: str
    scope: Scope = Scope.WRITE
    expires_at: datetime | None = None


M = TypeVar("M", bound=BaseModel)


async def read(request: web.Request, model: type[M], limits: Limits) -> M:
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


def token_json(token: Token) -> dict[str, Any]:
    return {
        "id": token.id,
        "name": token.name,
        "scope": token.scope.value,
        "created_at": iso(token.created_at),
        "expires_at": iso(token.expires_at) if token.expires_at else None,
        "last_used": iso(token.last_used) if token.last_used else None,
    }


def whoami_json(principal: Principal, version: str) -> dict[str, Any]:
    access = {"displayName": principal.token_name or "session", "role": "read" if principal.scope is Scope.READ else "write"}
    if principal.token_created_at:
        access["createdAt"] = iso(principal.token_created_at)
    return {
        "type": "user",
        "id": str(principal.user_id),
        "name": principal.name,
        "fullname": principal.name,
        "email": principal.email,
        "emailVerified": True,
        "avatarUrl": "",
        "canPay": False,
        "isPro": False,
        "orgs": [],
        "auth": {"type": "access_token", "accessToken": access},
        "site": {"name": "KohakuHub", "api": "kohakuhub", "version": version},
    }
