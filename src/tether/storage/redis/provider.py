"""Hands tether's current credential to a client that tether built. Imports the driver: import it late."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from redis.credentials import CredentialProvider


class _Current(CredentialProvider):
    def __init__(self, current: Callable[[], Any]) -> None:
        self._current = current

    def get_credentials(self) -> Any:
        credential = self._current()
        if credential is None:
            return ()
        return credential if isinstance(credential, tuple) else (credential,)


def provider_for(current: Callable[[], Any]) -> CredentialProvider:
    """Return a provider that answers whatever ``current()`` is at the moment: text, or ``(user, password)``."""
    return _Current(current)
