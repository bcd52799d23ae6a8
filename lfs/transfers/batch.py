"""The batch use case: which objects must be sent, and where from or to."""

from typing import Any

from lfs.objects.downloads import link_of
from lfs.objects.possession import Possession
from lfs.transfers.actions import Actions, ActionVerb
from lfs.transfers.direct_uploads import DirectUploads
from lfs.transfers.multipart import choose_part_bytes
from lfs.transfers.wire import BadObject, BatchRequest, error_json
from storage.blobs.base import BlobStore
from storage.errors import DiskFull
from storage.limits import Limits
from storage.multipart.base import Parted
from storage.records import BlobRef


class Batch:
    def __init__(self, possession: Possession, actions: Actions, blobs: BlobStore, direct: DirectUploads, limits: Limits) -> None:
        self._possession = possession
        self._actions = actions
        self._blobs = blobs
        self._direct = direct
        self._limits = limits

    def answer(self, repo_id: str, request: BatchRequest, origin: str) -> dict[str, Any]:
        """The answer's JSON. The right to read or write was asked before."""
        held = self._possession.held(repo_id, {item.sha256 for item in request.objects if isinstance(item, BlobRef)})
        wanted = self._wanted(request, held)
        part_bytes = choose_part_bytes(wanted, self._limits) if request.may_multipart else 0
        begun = self._direct.begin([Parted(repo_id, blob, part_bytes) for blob in wanted], origin)
        copies = 2 if part_bytes else 1  # parts lie beside the object that is made of them
        refused = self._without_room([blob for blob in wanted if blob not in begun], copies)

        def show(item: BlobRef | BadObject) -> dict[str, Any]:
            if isinstance(item, BadObject):
                return error_json(item.oid, item.size, 422, item.message)
            have = held.get(item.sha256)
            if not request.is_upload:
                return self._download(repo_id, item, have, origin)
            if item in refused:
                return error_json(item.sha256, item.size, DiskFull.status, refused[item])
            return self._upload(begun.get(item) or Parted(repo_id, item, part_bytes), have, origin, is_parted=part_bytes > 0)

        objects = [show(item) for item in request.objects]
        return {"transfer": "multipart" if part_bytes else "basic", "objects": objects, "hash_algo": "sha256"}

    def _wanted(self, request: BatchRequest, held: dict[str, BlobRef]) -> list[BlobRef]:
        """What is to be uploaded."""
        if not request.is_upload:
            return []
        return [item for item in request.objects if isinstance(item, BlobRef) and item.sha256 not in held]

    def _without_room(self, wanted: list[BlobRef], copies: int) -> dict[BlobRef, str]:
        """Objects that do not fit on the disk beside those before them, each with the refusal."""
        space, coming = self._blobs.space, 0
        if space is None:
            return {}
        refused: dict[BlobRef, str] = {}
        for blob in wanted:
            try:
                space.check(coming + copies * blob.size)
                coming += copies * blob.size
            except DiskFull as error:
                refused[blob] = error.message
        return refused

    def _download(self, repo_id: str, blob: BlobRef, have: BlobRef | None, origin: str) -> dict[str, Any]:
        if have is None:
            return error_json(blob.sha256, blob.size, 404, "The object is not in this repository. Push it with: git lfs push --all")
        if have.size != blob.size:
            return error_json(blob.sha256, blob.size, 422, f"The object has {have.size} bytes, not {blob.size}.")
        link = link_of(self._blobs, blob, "attachment", origin)
        action = {"href": link, "expires_in": self._actions.seconds} if link else self._action(origin, ActionVerb.DOWNLOAD, repo_id, blob)
        return self._allowed(blob, {"download": action})

    def _upload(self, parted: Parted, have: BlobRef | None, origin: str, *, is_parted: bool) -> dict[str, Any]:
        blob = parted.blob
        if have is not None and have.size != blob.size:
            return error_json(blob.sha256, blob.size, 422, f"The object is here already and has {have.size} bytes, not {blob.size}.")
        if have is not None:
            return {"oid": blob.sha256, "size": blob.size}
        if is_parted:
            return self._allowed(blob, self._multipart(parted, origin))
        if parted.direct is not None:
            return self._allowed(blob, self._direct.actions(parted, origin))
        verbs = (ActionVerb.UPLOAD, ActionVerb.VERIFY)
        return self._allowed(blob, {verb.value: self._action(origin, verb, parted.repo_id, blob) for verb in verbs})

    def _multipart(self, parted: Parted, origin: str) -> dict[str, Any]:
        """The header holds the parts' URLs and nothing else: the git-lfs agent sends a part to every value, in the order of the text of
        the keys, and huggingface_hub knows by `chunk_size` that it is no header.
        """
        seconds = self._limits.multipart_seconds
        header = {"chunk_size": str(parted.part_bytes)}
        for number in range(1, parted.count + 1):
            header[f"{number:05}"] = self._part_url(origin, parted, number)
        verify = self._actions.url(origin, ActionVerb.VERIFY, parted.repo_id, parted.blob, seconds)
        return {
            "upload": {"href": self._actions.complete_url(origin, parted, seconds), "header": header, "expires_in": seconds},
            "verify": {"href": verify, "expires_in": seconds},
        }

    def _part_url(self, origin: str, parted: Parted, number: int) -> str:
        if parted.direct is not None:
            return self._direct.part_url(parted, number)
        return self._actions.part_url(origin, parted, number, self._limits.multipart_seconds)

    def _action(self, origin: str, verb: ActionVerb, repo_id: str, blob: BlobRef) -> dict[str, Any]:
        return {"href": self._actions.url(origin, verb, repo_id, blob), "expires_in": self._actions.seconds}

    def _allowed(self, blob: BlobRef, actions: dict[str, Any]) -> dict[str, Any]:
        return {"oid": blob.sha256, "size": blob.size, "authenticated": True, "actions": actions}
