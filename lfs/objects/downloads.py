"""Where clients read large objects: from the local disk, through the hub, or from S3 directly."""

from functools import partial

from httpapi.ranges import Content
from storage.blobs.base import BlobStore, Served
from storage.records import BlobRef

_TYPE = "application/octet-stream"  # on another origin nothing of ours keeps a page from running


def content_of(blobs: BlobStore, blob: BlobRef) -> Content:
    """Raises ObjectNotFound when it is opened and not there."""
    path = blobs.path(blob.sha256)
    return Content(blob.size, blob.sha256, path, open=None if path else partial(blobs.open, blob.sha256))


def link_of(blobs: BlobStore, blob: BlobRef, disposition: str, origin: str) -> str | None:
    """A URL outside of the hub's `origin`: huggingface_hub loses the headers of a redirect within one. `disposition` must not be inline."""
    if not blobs.link_origin or blobs.link_origin == origin:
        return None
    return blobs.link(blob.sha256, Served(_TYPE, disposition))
