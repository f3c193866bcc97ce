"""The HTTP API.

``create_app`` makes an ASGI application over a ``ReconnectManager``: mount it into yours, or let ``tether run`` serve
it::

    shapes     what is answered
    encoding   plain values as JSON
    problems   errors, as RFC 9457 has them
    access     tokens, hosts, origins
    front      what every request passes first
    feed       the history as server-sent events      (no I/O)
    stream     sends the feed to one client
    health     /livez and /readyz
    routes     the routes
    app        all of it together
    server     uvicorn, in the event loop of the connections
"""

from __future__ import annotations

from tether.surfaces.api.access import Access
from tether.surfaces.api.app import create_app

__all__ = ["Access", "create_app"]
