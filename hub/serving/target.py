"""What a request line asks for, before it is routed."""

import re
from collections.abc import Callable
from typing import Any

from aiohttp.http import RawRequestMessage
from aiohttp.web import BaseRequest

_SLASHES = re.compile("/{2,}")


def without_empty_segments(make: Callable[..., BaseRequest]) -> Callable[..., BaseRequest]:
    """`make`, a server's request factory, by which `//ns/name.git` is `/ns/name.git`: configured addresses often end in a slash to which
    another one is joined. What is encoded (`%2F`) and the query stay as they are, and `raw_path` tells what was sent.
    """

    def make_request(message: RawRequestMessage, *others: Any) -> BaseRequest:
        url = message.url
        if "//" in url.raw_path and not url.absolute:
            path = _SLASHES.sub("/", url.raw_path)
            message = message._replace(url=url.build(path=path, query_string=url.raw_query_string, encoded=True))
        return make(message, *others)

    return make_request
