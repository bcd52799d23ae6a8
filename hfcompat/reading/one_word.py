"""Repositories whose name is one word are on huggingface.co alone: here clients learn that there is none."""

from aiohttp import web

from hfcompat import wire
from httpapi.endpoint import Call, Endpoint
from httpapi.errors import render_json
from storage.records import Access

_BELOW = "{below:revision|tree|commits|paths-info|preupload|commit|branch|tag|xet-read-token|xet-write-token}"


class OneWordViews:
    """Its rows stand after all others: a repository may be called `tree`."""

    def endpoints(self) -> list[Endpoint]:
        single = f"/api/{wire.KINDS}/{{single}}"
        return [
            Endpoint("GET", single, self.missing, Access.NONE, render_json),
            Endpoint("*", f"{single}/{_BELOW}/{{rest:.+}}", self.missing, Access.NONE, render_json),
        ]

    async def missing(self, request: web.Request, call: Call) -> web.Response:
        raise wire.no_single_name(request)
