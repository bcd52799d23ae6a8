"""URLs that strangers gave."""

import base64
import re
from dataclasses import dataclass
from urllib.parse import unquote, urljoin, urlsplit

from storage.errors import Invalid

_TEXT = re.compile(r"[!-\[\]-~]{1,2000}")  # no backslash, which some take for a slash
_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]")
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class UrlCredentials:
    """A user name and a password or token, for one origin."""

    user: str
    password: str

    @property
    def header(self) -> str:
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()

    def __repr__(self) -> str:
        return "Login(…)"


@dataclass(frozen=True, slots=True)
class Url:
    """http or https, without credentials and fragment. `target` is path and query as they stand in the request line."""

    scheme: str
    host: str
    port: int
    target: str

    @property
    def origin(self) -> tuple[str, str, int]:
        return self.scheme, self.host.lower(), self.port

    def __str__(self) -> str:
        port = "" if _PORTS[self.scheme] == self.port else f":{self.port}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}{port}{self.target}"

    @property
    def shown(self) -> str:
        """For people and logs: queries carry signatures."""
        return str(self).partition("?")[0]

    def joined(self, location: str) -> "Url":
        """Where a redirect of this one leads."""
        return parse(urljoin(str(self), location))[0]


def parse(text: str) -> tuple[Url, UrlCredentials | None]:
    """A URL with the credentials that stood in it. Raises Invalid, which does not repeat them."""
    if not _TEXT.fullmatch(text):
        raise Invalid("The URL has blanks, backslashes, control characters or other letters than ASCII, or is too long. Write them as %XX.")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise Invalid("The URL cannot be read. Write https://host/path.") from error
    if parts.scheme not in _PORTS:
        raise Invalid("The URL must begin with https:// or http://.")
    userinfo, _, place = parts.netloc.rpartition("@")
    if not _HOST.fullmatch(re.sub(r":[0-9]*\Z", "", place)) or not parts.hostname:
        raise Invalid("The URL has no good host. Write https://host/path.")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    user, _, password = userinfo.partition(":")
    login = UrlCredentials(unquote(user), unquote(password)) if userinfo else None
    return Url(parts.scheme, parts.hostname, port or _PORTS[parts.scheme], target), login
