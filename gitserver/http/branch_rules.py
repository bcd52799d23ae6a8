"""Branch protection over the API (the hub's own, no dialect of others): `RuleViews(rules, limits)`."""

import asyncio
from typing import Any

from aiohttp import web

from accounts.access import may_create_in
from gitserver.update.branch_rules import BranchRule, BranchRules
from httpapi.bodies import read_json
from httpapi.endpoint import API_REPO, Call, Endpoint
from httpapi.errors import render_json
from storage.errors import Forbidden, Invalid
from storage.limits import Limits
from storage.records import Access

_PATH = API_REPO + "/branch-rules"
_FLAGS = ("forbidForce", "forbidDeletion", "forbidMerges")


class RuleViews:
    def __init__(self, rules: BranchRules, limits: Limits) -> None:
        self._rules = rules
        self._limits = limits

    def endpoints(self) -> list[Endpoint]:
        return [
            Endpoint("GET", _PATH, self.get, Access.READ, render_json),
            Endpoint("PUT", _PATH, self.put, Access.WRITE, render_json),
        ]

    async def get(self, request: web.Request, call: Call) -> web.Response:
        return await self._answer(call)

    async def put(self, request: web.Request, call: Call) -> web.Response:
        """All rules at once; an empty list lifts them."""
        if not may_create_in(call.principal, call.repo.name.namespace):
            raise Forbidden(f"Only the owner of {call.repo.name.namespace} may change what is protected.")
        body = await read_json(request, self._limits.json_bytes)
        given = body.get("rules") if isinstance(body, dict) else None
        if not isinstance(given, list):
            raise Invalid('The body must be {"rules": [{"pattern": "main", "forbidForce": true}, …]}.')
        await asyncio.to_thread(self._rules.set, call.repo.id, [_rule(one) for one in given])
        return await self._answer(call)

    async def _answer(self, call: Call) -> web.Response:
        rules = await asyncio.to_thread(self._rules.of, call.repo.id)
        return web.json_response({"rules": [_json(rule) for rule in rules]})


def _rule(given: object) -> BranchRule:
    if not isinstance(given, dict) or not isinstance(given.get("pattern"), str):
        raise Invalid("Each rule needs a pattern, the name of a branch or of several, such as release/*.")
    flags = [given.get(name, False) for name in _FLAGS]
    if unknown := sorted(set(given) - {"pattern", *_FLAGS}):
        raise Invalid(f"A rule has no {unknown[0][:40]!r}; it has pattern, {', '.join(_FLAGS)}.")
    if not all(isinstance(flag, bool) for flag in flags):
        raise Invalid(f"{', '.join(_FLAGS)} are true or false.")
    return BranchRule(given["pattern"], *flags)


def _json(rule: BranchRule) -> dict[str, Any]:
    flags = (rule.forbids_force, rule.forbids_deletion, rule.forbids_merges)
    return {"pattern": rule.pattern, **dict(zip(_FLAGS, flags, strict=True))}
