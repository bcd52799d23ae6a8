"""What the SSH key routes read and write, as upstream KohakuHub spells it."""

from typing import Any

from pydantic import BaseModel

from accounts.keys.keys import SshKey
from accounts.wire import iso


class AddKey(BaseModel):
    key: str
    title: str = ""


def key_json(key: SshKey) -> dict[str, Any]:
    return {
        "id": key.id,
        "title": key.title,
        "key_type": key.kind,
        "fingerprint": key.fingerprint,
        "created_at": iso(key.created_at),
        "last_used": iso(key.last_used) if key.last_used else None,
    }
