"""Toxiproxy's HTTP API, so that its clients, in whatever language, drive fault proxies in this process.

Here: HTTP. Not here: what requests mean (``proxy.registry``).
"""

from __future__ import annotations

import ipaddress
import json
import logging
import socket
import socketserver
import sys
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler
from typing import Any, Self

from tether.testing.proxy.fault_proxy import FaultProxy
from tether.testing.proxy.registry import ApiError, Registry

__all__ = ["DEFAULT_PORT", "ToxiproxyApi"]

DEFAULT_PORT = 8474
"""The port that Toxiproxy's clients expect."""

_logger = logging.getLogger("tether.testing")

_MOST_BYTES = 1024 * 1024
_REQUEST_DEADLINE = 5.0  # seconds of silence in the middle of a request
_POLL = 0.02  # seconds until it is noticed that the server is to end


class ToxiproxyApi:
    """Serves Toxiproxy's HTTP API on loopback, from ``start()`` to ``stop()``, or for a ``with`` block.

    Proxies that clients create run in this process, and end with it.

    Args:
        host: a loopback address.
        port: 8474 is what clients expect; 0: a free one.
        seed: for the draws of proxies that clients create; None: each has a new one.

    Raises:
        ValueError: the address is not loopback: whoever reaches this API has the proxies dial for him.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = DEFAULT_PORT, *, seed: int | None = None) -> None:
        if not ipaddress.ip_address(host).is_loopback:
            raise ValueError(f"the API of the fault proxy listens on loopback only, not on {host}")
        self.host = host
        self._wanted = port
        self._registry = Registry(seed=seed)
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        """The port. Raises RuntimeError when it does not run."""
        if self._server is None:
            raise RuntimeError("the API has a port only while it runs")
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """The address for clients. Raises as ``port`` does."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    def adopt(self, name: str, proxy: FaultProxy) -> None:
        """Let clients drive a proxy of yours, which runs and which you stop. Raises ValueError for a taken name."""
        self._registry.adopt(name, proxy)

    def populate(self, document: bytes) -> list[dict[str, Any]]:
        """Create the proxies of a JSON document as Toxiproxy's ``-config`` reads it; return how the API shows them.

        They run also before ``start()``, and end with ``stop()``.

        Raises:
            ApiError: the document is bad (``status`` 400), or an address cannot be used (500).
        """
        proxies: list[dict[str, Any]] = self._registry.answer("POST", "/populate", document)[1]["proxies"]
        return proxies

    def start(self) -> None:
        """Serve, on threads of its own. Raises OSError when the port is taken."""
        if self._server is not None:
            raise RuntimeError("the API is running already")
        self._server = server = _Server((self.host, self._wanted), self._registry)
        self._thread = threading.Thread(
            target=server.serve_forever, args=(_POLL,), name="toxiproxy api", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """End, and stop the proxies that clients created. May be called again."""
        server, thread = self._server, self._thread
        self._server = self._thread = None
        if server is not None and thread is not None:
            server.shutdown()
            thread.join()
            server.server_close()
        self._registry.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()


class _Server(socketserver.ThreadingMixIn, socketserver.TCPServer):  # HTTPServer would look up a name
    allow_reuse_address = True
    daemon_threads = False  # so that closing waits for requests that are being answered

    def __init__(self, address: tuple[str, int], registry: Registry) -> None:
        self.address_family = _family(address[0])
        self.registry = registry
        super().__init__(address, _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        error = sys.exception()
        level = (
            logging.DEBUG if isinstance(error, OSError) else logging.ERROR
        )  # a client that leaves is no defect
        _logger.log(level, "a request of %s broke off", client_address, exc_info=error)


class _Handler(BaseHTTPRequestHandler):
    # HTTP/1.0: one request for each connection, so that none is idle when the server ends.
    server: _Server
    timeout = _REQUEST_DEADLINE

    def do_GET(self) -> None:
        self._handle()

    def do_POST(self) -> None:
        self._handle()

    def do_PATCH(self) -> None:
        self._handle()

    def do_DELETE(self) -> None:
        self._handle()

    def _handle(self) -> None:
        try:
            self._refuse_browsers()
            path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
            status, value = self.server.registry.answer(self.command, path, self._body())
        except ApiError as error:
            status, value = error.status, {"error": str(error), "status": error.status}
        self._send(status, value)

    def _refuse_browsers(self) -> None:
        # A page on the internet must not drive this through its reader's browser; Toxiproxy does the same.
        if self.headers.get("User-Agent", "").startswith("Mozilla/") or "Origin" in self.headers:
            raise ApiError(403, "User agent not allowed")

    def _body(self) -> bytes:
        if "Transfer-Encoding" in self.headers:
            raise ApiError(411, "a Content-Length is needed")
        length = self.headers.get("Content-Length", "0")
        if not length.isdecimal():
            raise ApiError(400, "the Content-Length is no number")
        if int(length) > _MOST_BYTES:
            raise ApiError(413, f"more than {_MOST_BYTES} bytes")
        return self.rfile.read(int(length))

    def _send(self, status: int, value: Any) -> None:
        body = b"" if value is None else json.dumps(value).encode()
        self.send_response(status)
        if value is not None:
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        _logger.debug(format, *args)


def _family(host: str) -> Any:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
