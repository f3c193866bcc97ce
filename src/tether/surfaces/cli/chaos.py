"""``tether chaos``: a fault proxy for services in any language, driven by options or by Toxiproxy's HTTP API."""

from __future__ import annotations

import asyncio
import signal
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:
    from tether.testing.proxy import FaultProxy
    from tether.testing.proxy.toxics import Placed
    from tether.testing.toxiproxy import ToxiproxyApi

EX_USAGE = 2
EX_UNAVAILABLE = 69
EX_CONFIG = 78

_NAME = "chaos"
"""What the API calls the proxy of the command line."""


def chaos(
    listen: Annotated[
        str | None,
        typer.Argument(help="Where to listen, HOST:PORT or PORT; port 0: a free one.", show_default=False),
    ] = None,
    upstream: Annotated[
        str | None,
        typer.Argument(help="Where to carry connections to, HOST:PORT or PORT.", show_default=False),
    ] = None,
    *,
    toxic: Annotated[
        list[str] | None,
        typer.Option(
            "--toxic",
            "-t",
            metavar="TYPE[:KEY=VALUE,…]",
            help="A fault, as latency:latency=200,jitter=50 (ms); also stream=upstream and toxicity=0.5. Repeatable.",
        ),
    ] = None,
    api_port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65535,
            help="Serve Toxiproxy's HTTP API here, on loopback; 8474 is what clients expect.",
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="More proxies, as a JSON file of Toxiproxy's."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="For all draws, so that a run can be repeated. Default: a new one.")
    ] = None,
) -> None:
    """Put a proxy between a client and its server, and do to their connection what networks do.

    Toxics: latency (latency, jitter), bandwidth (rate in KB/s), slow_close (delay), timeout (timeout), reset_peer
    (timeout), slicer (average_size, size_variation, delay in µs), limit_data (bytes). Times are in ms.

    Ctrl-C and SIGTERM end it. Exit codes: 0 = ended as asked; 2 = wrong usage; 69 = an address cannot be used;
    78 = the file is bad.
    """
    proxy = _proxy(listen, upstream, seed=seed)
    placed = [_placed(text) for text in toxic or ()]
    if proxy is None and (placed or (api_port is None and config is None)):
        _fail("name LISTEN and UPSTREAM, as in: tether chaos 16379 localhost:6379", EX_USAGE)
    api = _api(api_port, config, seed=seed)
    try:
        asyncio.run(_serve(proxy, placed, api, show_api=api_port is not None, config=config))
    except OSError as error:
        _fail(f"an address cannot be used: {error}", EX_UNAVAILABLE)


def _proxy(listen: str | None, upstream: str | None, *, seed: int | None) -> FaultProxy | None:
    if listen is None:
        return None
    if upstream is None:
        _fail("name UPSTREAM too, as in: tether chaos 16379 localhost:6379", EX_USAGE)
    from tether.testing.proxy import FaultProxy

    (host, port), (to_host, to_port) = _address(listen), _address(upstream)
    if to_port == 0:
        _fail(f"{upstream!r} names no port to carry connections to", EX_USAGE)
    return FaultProxy(to_host, to_port, host=host, port=port or None, seed=seed)


def _address(text: str) -> tuple[str, int]:
    from tether.testing.proxy.registry import ApiError, split_address

    try:
        host, port = split_address(f":{text}" if text.isdecimal() else text)
    except ApiError:
        _fail(f"{text!r} is no address like 127.0.0.1:6379", EX_USAGE)
    return host or "127.0.0.1", port


def _placed(text: str) -> Placed:
    """Read ``type:key=value,…``."""
    from tether.testing.proxy import Placed, ToxicError
    from tether.testing.proxy.toxics import toxic_from

    kind, _, rest = text.partition(":")
    values = dict(_pair(text, pair) for pair in rest.split(",") if pair)
    stream = values.pop("stream", "downstream")
    name = values.pop("name", f"{kind}_{stream}")
    try:
        toxicity = _number(values.pop("toxicity", "1"))
        toxic = toxic_from(kind, {key: _number(value) for key, value in values.items()})
        return Placed(name=name, toxic=toxic, stream=stream, toxicity=toxicity)  # type: ignore[arg-type]
    except ToxicError as error:
        _fail(f"--toxic {text}: {error}", EX_USAGE)


def _pair(text: str, pair: str) -> tuple[str, str]:
    key, equals, value = pair.partition("=")
    if not equals:
        _fail(f"--toxic {text}: {pair!r} is not KEY=VALUE", EX_USAGE)
    return key.strip(), value.strip()


def _number(text: str) -> float:
    from tether.testing.proxy import ToxicError

    try:
        return int(text) if text.isdecimal() else float(text)
    except ValueError:
        raise ToxicError(f"{text!r} is no number; times are in ms, without a unit") from None


def _api(port: int | None, config: Path | None, *, seed: int | None) -> ToxiproxyApi | None:
    if port is None and config is None:
        return None
    from tether.testing.toxiproxy import ToxiproxyApi

    return ToxiproxyApi(port=port or 0, seed=seed)


async def _serve(
    proxy: FaultProxy | None,
    placed: list[Placed],
    api: ToxiproxyApi | None,
    *,
    show_api: bool,
    config: Path | None,
) -> None:
    """Run everything until a signal says that it is enough. Raises OSError for an address that cannot be used."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    async with AsyncExitStack() as running:
        if proxy is not None:
            await running.enter_async_context(proxy)
            _place(proxy, placed)
        if api is not None:
            await _open_api(api, running, proxy=proxy, show=show_api, config=config)
        await ended.wait()
    if proxy is not None:
        _say(
            f"{proxy.connections} connections, {proxy.bytes_upstream} bytes up, {proxy.bytes_downstream} bytes down"
        )


def _place(proxy: FaultProxy, placed: list[Placed]) -> None:
    from tether.testing.proxy import ToxicError

    _say(f"{proxy.host}:{proxy.port} to {proxy.upstream[0]}:{proxy.upstream[1]}, seed {proxy.seed}")
    for one in placed:
        try:
            proxy.add(one.toxic, stream=one.stream, toxicity=one.toxicity, name=one.name)
        except ToxicError as error:
            _fail(f"--toxic: {error}; in an option that is name=…", EX_USAGE)
        values = ", ".join(f"{key} {value:g}" for key, value in one.toxic.attributes().items())
        share = f", {one.toxicity:.0%} of connections" if one.toxicity < 1 else ""
        _say(f"  {one.name}: {values}{share}")


async def _open_api(
    api: ToxiproxyApi, running: AsyncExitStack, *, proxy: FaultProxy | None, show: bool, config: Path | None
) -> None:
    # Not on the loop: a request that is being answered may wait for the proxy, which lives there.
    running.push_async_callback(asyncio.to_thread, api.stop)
    if proxy is not None:
        api.adopt(_NAME, proxy)
    if config is not None:
        _populate(api, config)
    if show:
        await asyncio.to_thread(api.start)
        _say(f"Toxiproxy's API on {api.url}")


def _populate(api: ToxiproxyApi, config: Path) -> None:
    from tether.testing.proxy.registry import ApiError

    try:
        shown = api.populate(config.read_bytes())
    except ApiError as error:
        _fail(f"{config}: {error}", EX_UNAVAILABLE if error.status == 500 else EX_CONFIG)
    for one in shown:
        _say(f"{one['listen']} to {one['upstream']}: {one['name']}{'' if one['enabled'] else ', down'}")


def _say(text: str) -> None:
    typer.echo(text)


def _fail(text: str, code: int) -> NoReturn:
    typer.echo(f"tether: {text}", err=True)
    raise typer.Exit(code)
