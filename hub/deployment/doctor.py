"""`kohakuhub doctor`: a line for everything that a deployment needs, and the fix where something is wrong."""

import os
from collections.abc import Iterator

from pydantic import ValidationError

from hub.deployment import from_settings, over_http
from hub.deployment.finding import Finding
from hub.setting_names import unknown_settings
from hub.settings import Settings, problems


def doctor(url: str) -> int:
    """The exit status: 1 when something is wrong. Settings are taken from the environment, as the hub itself does."""
    wrong = count = 0
    for finding in _findings(url):
        print(finding.line, flush=True)
        wrong += bool(finding.trouble)
        count += 1
    print(f"{wrong} of {count} things are wrong." if wrong else f"All {count} things are in order.")
    return 1 if wrong else 0


def _findings(url: str) -> Iterator[Finding]:
    settings = None
    try:
        settings = Settings()
        yield Finding("settings and secrets are good")
    except ValidationError as error:
        for line in problems(error):
            variable, _, trouble = line.partition(": ")
            yield Finding(variable, trouble, "correct it, and start the hub anew")
    for variable, advice in unknown_settings(os.environ, Settings.model_fields):
        yield Finding(variable, "it is ignored", advice)
    if settings is not None:
        url = url or settings.base_url or f"http://127.0.0.1:{settings.port}"
    try:
        yield from over_http.examine(url or f"http://127.0.0.1:{over_http.PUBLIC_PORT}", os.environ.get("HF_ENDPOINT", ""))
    except ValueError as error:
        yield Finding("the address", str(error), "for example: kohakuhub doctor http://localhost:28080")
    if settings is not None:
        yield from from_settings.examine(settings)
