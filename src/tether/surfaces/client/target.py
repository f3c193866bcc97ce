"""Where the API is, and with which token."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from tether.errors import ConfigError

DEFAULT_URL = "http://127.0.0.1:8321"


@dataclass(frozen=True, slots=True)
class Target:
    """An API to ask.

    Attributes:
        url: its base, without a slash at the end.
        token: to send, or ''. Never shown.
    """

    url: str = DEFAULT_URL
    token: str = ""

    def __repr__(self) -> str:
        return f"Target({self.url!r})"

    @property
    def headers(self) -> dict[str, str]:
        """What to send with each request."""
        return {"authorization": f"Bearer {self.token}"} if self.token else {}


def target(url: str, token: str) -> Target:
    """Return a checked target.

    Raises:
        ConfigError: the URL or the token cannot work; neither is shown.
    """
    try:
        parts = urlsplit(url)
        good = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise ConfigError(f"--url: this is no URL of an API; write it like {DEFAULT_URL}")
    if parts.username is not None or parts.query or parts.fragment:
        raise ConfigError("--url: leave out user, '?' and '#'; the token goes into TETHER_TOKEN")
    if not (token.isascii() and token.isprintable()):
        raise ConfigError("--token: a token has printable ASCII characters only")
    return Target(url.rstrip("/"), token)
