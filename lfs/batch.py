"""The batch use case: which objects must be sent, and where from or to."""

from typing import Any

from lfs.actions import Actions, Verb
from lfs.possession import Possession
from lfs.wire import BadObject, BatchRequest, error_json
from storage.records import BlobRef


class Batch:
    def __init__(self, possession: Possession, actions: Actions) -> None:
        self._possession = possession
        self._actions = actions

    def answer(self, repo_id: str, request: BatchRequest, origin: str) -> dict[str, Any]:
        """The answer's JSON. The right to read or write was asked before."""
        held = self._possession.held(repo_id, {item.sha256 for item in request.objects if isinstance(item, BlobRef)})
        make = self._upload if request.is_upload else self._download
        objects = [
            error_json(item.oid, item.size, 422, item.message)
            if isinstance(item, BadObject)
            else make(repo_id, item, held.get(item.sha256), origin)
            for item in request.objects
        ]
        return {"transfer": "basic", "objects": objects, "hash_algo": "sha256"}

    def _download(self, repo_id: str, blob: BlobRef, have: BlobRef | None, origin: str) -> dict[str, Any]:
        if have is None:
            return error_json(blob.sha256, blob.size, 404, "The object is not in this repository. Push it with: git lfs push --all")
        if have.size != blob.size:
            return error_json(blob.sha256, blob.size, 422, f"The object has {have.size} bytes, not {blob.size}.")
        return self._allowed(blob, {"download": self._action(origin, Verb.DOWNLOAD, repo_id, blob)})

    def _upload(self, repo_id: str, blob: BlobRef, have: BlobRef | None, origin: str) -> dict[str, Any]:
        if have is not None and have.size != blob.size:
            return error_json(blob.sha256, blob.size, 422, f"The object is here already and has {have.size} bytes, not {blob.size}.")
        if have is not None:
            return {"oid": blob.sha256, "size": blob.size}
        verbs = (Verb.UPLOAD, Verb.VERIFY)
        return self._allowed(blob, {verb.value: self._action(origin, verb, repo_id, blob) for verb in verbs})

    def _action(self, origin: str, verb: Verb, repo_id: str, blob: BlobRef) -> dict[str, Any]:
        return {"href": self._actions.url(origin, verb, repo_id, blob), "expires_in": self._actions.seconds}

    def _allowed(self, blob: BlobRef, actions: dict[str, Any]) -> dict[str, Any]:
        return {"oid": blob.sha256, "size": blob.size, "authenticated": True, "actions": actions}
