"""What the account routes read and write, as upstream KohakuHub and huggingface.co spell it."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, SecretStr

from accounts.identity.tokens import Token
from accounts.keys.ssh_keys import SshKey
from httpapi.shapes import iso
from storage.records import Principal, Scope


class Register(BaseModel):
    username: str
    email: str
    password: SecretStr


class Login(BaseModel):
    username: str
    password: SecretStr


class AddKey(BaseModel):
    key: str
    title: str = ""


class CreateToken(BaseModel):
    name: str
    scope: Scope = Scope.WRITE
    expires_at: datetime | None = None


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


def key_json(key: SshKey) -> dict[str, Any]:
    return {
        "id": key.id,
        "title": key.title,
        "key_type": key.kind,
        "fingerprint": key.fingerprint,
        "created_at": iso(key.created_at),
        "last_used": iso(key.last_used) if key.last_used else None,
    }
