"""Prometheus: the figures of all connections of a manager, read when they are scraped.

Nothing is counted here, so nothing is counted twice: a scrape reads what ``manager.status()`` says at that moment. It
costs nothing in between, and a connection that is unregistered is gone from the next scrape on. ::

    registry = CollectorRegistry()
    registry.register(MetricsCollector(manager))
    body, content_type = exposition(registry)

A scrape may run on a thread of its own: with a thousand connections it takes longer than an event loop should wait.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple

from tether.core.lifecycle import Status
from tether.errors import MissingDriver
from tether.observe.figures import Figures, FiguresByName
from tether.observe.tally import LATENCY_BUCKETS
from tether.observe.version import installed_version

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.metrics_core import Metric

MAX_CONNECTIONS = 1000
"""Connections with series of their own; what is beyond is added up, so that a scrape stays bounded."""

OTHER = "(other)"
"""The label ``connection`` of those that are added up, one set of series per type."""

LABELS = ("connection", "type")

Read = Callable[[Figures], float]

COUNTERS: Sequence[tuple[str, str, Read]] = (
    (
        "network_reconnect_attempts_total",
        "Reconnect attempts begun; the first dial of each start is none.",
        lambda f: f.reconnect_attempts,
    ),
    ("network_reconnect_success_total", "Reconnect attempts that connected.", lambda f: f.reconnects),
    ("network_connection_losses_total", "Connections lost.", lambda f: f.losses),
    ("network_probe_failures_total", "Health checks without a good answer.", lambda f: f.probes_failed),
    (
        "network_dropped_total",
        "Callback calls and messages dropped because a queue was full.",
        lambda f: f.dropped,
    ),
    (
        "network_callback_failures_total",
        "Callbacks that raised or took too long.",
        lambda f: f.callbacks_failed,
    ),
    (
        "network_loop_stalls_total",
        "Times that this process's own event loop was late, and a verdict about the peer was held back.",
        lambda f: f.stalls,
    ),
)

FLAGS: Sequence[tuple[str, str, Read]] = (
    ("network_connection_paused", "Whether it is left alone until it is resumed.", lambda f: f.paused),
    ("network_connection_degraded", "Whether something could not be restored yet.", lambda f: f.degraded),
    (
        "network_connection_flapping",
        "Whether it comes and goes without becoming stable.",
        lambda f: f.flapping,
    ),
)

_BOUNDS = (*(f"{bound}" for bound in LATENCY_BUCKETS), "+Inf")
_NO_LATENCIES = (0,) * len(_BOUNDS)


class _Row(NamedTuple):
    """The values of ``LABELS``, and the figures behind them: one connection's, or those of all that are folded."""

    labels: tuple[str, str]
    figures: Sequence[Figures]

    def total(self, read: Read) -> float:
        """Return one figure; of several connections their sum."""
        return read(self.figures[0]) if len(self.figures) == 1 else sum(map(read, self.figures))


class MetricsCollector:
    """A custom collector of prometheus_client. ``docs/reference/metrics.md`` lists the series.

    Args:
        manager: whose connections; anything with a ``status()`` as ``ReconnectManager`` has it.
        max_connections: so many have series of their own, in the order of their registration. The rest are added up
            per type as connection ``(other)``, and ``tether_connections_folded`` says how many they are.

    Raises:
        MissingDriver: prometheus_client is not installed.
    """

    def __init__(self, manager: FiguresByName, *, max_connections: int = MAX_CONNECTIONS) -> None:
        self._core = _import_prometheus().metrics_core
        self._manager = manager
        self._max_connections = max_connections

    def describe(self) -> Iterable[Metric]:
        """Return the families without samples: a registry then need not scrape to learn their names."""
        return self._families([])

    def collect(self) -> Iterable[Metric]:
        """Read all figures, and return the families."""
        status = self._manager.status()
        rows = _rows(status, self._max_connections)
        return self._families(rows, len(status) - sum(row.labels[0] != OTHER for row in rows))

    def _families(self, rows: Sequence[_Row], folded: int = 0) -> Iterator[Metric]:
        for name, text, read in COUNTERS:
            yield self._family(
                self._core.CounterMetricFamily, name, text, ((row.labels, row.total(read)) for row in rows)
            )
        for name, text, read in FLAGS:
            yield self._family(
                self._core.GaugeMetricFamily, name, text, ((row.labels, row.total(read)) for row in rows)
            )
        yield self._failures(rows)
        yield self._states(rows)
        yield self._uptime(rows)
        yield from self._last_reconnect(rows)
        yield self._latencies(rows)
        text = f"Connections that are added up as connection '{OTHER}'."
        yield self._family(
            self._core.GaugeMetricFamily, "tether_connections_folded", text, [((), folded)], ()
        )
        text = "Always 1; says which tether this is."
        yield self._family(
            self._core.GaugeMetricFamily,
            "tether_build_info",
            text,
            [((installed_version(),), 1)],
            ("version",),
        )

    def _family(
        self,
        family_class: Any,
        name: str,
        text: str,
        samples: Iterable[tuple[Sequence[str], float]],
        labels: Sequence[str] = LABELS,
    ) -> Metric:
        family: Any = family_class(name, text, labels=labels)
        for values, value in samples:
            family.add_metric(values, value)
        metric: Metric = family
        return metric

    def _failures(self, rows: Sequence[_Row]) -> Metric:
        text = "Reconnect attempts that failed, by cause; a cause is there once it has occurred."
        reasons = (
            (row, sorted({code for f in row.figures for code in f.reconnect_failures})) for row in rows
        )
        samples = (
            ((*row.labels, code.value), sum(f.reconnect_failures.get(code, 0) for f in row.figures))
            for row, codes in reasons
            for code in codes
        )
        return self._family(
            self._core.CounterMetricFamily,
            "network_reconnect_failures_total",
            text,
            samples,
            (*LABELS, "reason"),
        )

    def _states(self, rows: Sequence[_Row]) -> Metric:
        text = "1 for the state that the connection is in, 0 for the others."
        samples = (
            ((*row.labels, status.value), sum(f.status is status for f in row.figures))
            for row in rows
            for status in Status
        )
        return self._family(
            self._core.GaugeMetricFamily, "network_connection_state", text, samples, (*LABELS, "state")
        )

    def _uptime(self, rows: Sequence[_Row]) -> Metric:
        """Of several connections the shortest uptime: a sum would hide the one that is down."""
        text = "Seconds that the present connection has been up; 0 while down."
        samples = ((row.labels, min(f.session_uptime for f in row.figures)) for row in rows)
        return self._family(self._core.GaugeMetricFamily, "network_connection_uptime_seconds", text, samples)

    def _last_reconnect(self, rows: Sequence[_Row]) -> Iterator[Metric]:
        """Of several connections the latest; none before the first, for 0 would read as fifty years ago."""
        text = "When the latest connection after a loss came up, in Unix seconds; absent before the first."
        times = [(row.labels, [f.last_reconnect for f in row.figures if f.last_reconnect]) for row in rows]
        samples = [(labels, max(found).timestamp()) for labels, found in times if found]
        for name in ("network_last_reconnect_timestamp", "network_last_reconnect_timestamp_seconds"):
            yield self._family(self._core.GaugeMetricFamily, name, text, samples)

    def _latencies(self, rows: Sequence[_Row]) -> Metric:
        text = "Seconds from noticing a loss to being connected again."
        family: Any = self._core.HistogramMetricFamily(
            "network_reconnect_latency_seconds", text, labels=LABELS
        )
        for row in rows:
            counts = map(sum, zip(*(f.latencies or _NO_LATENCIES for f in row.figures), strict=True))
            buckets = list(zip(_BOUNDS, accumulate(counts), strict=True))
            family.add_metric(row.labels, buckets, sum(f.latency_sum for f in row.figures))
        metric: Metric = family
        return metric


def _rows(status: Mapping[str, Figures], limit: int) -> list[_Row]:
    """Return a row per connection, up to ``limit``, and then one per type for the rest."""
    rows: list[_Row] = []
    rest: dict[str, list[Figures]] = {}
    for name, figures in status.items():
        if len(rows) < limit and name != OTHER:
            rows.append(_Row((_text(name), _text(figures.type)), (figures,)))
        else:
            rest.setdefault(_text(figures.type), []).append(figures)
    return rows + [_Row((OTHER, kind), folded) for kind, folded in rest.items()]


def _text(value: str) -> str:
    """Return text that can be written: one name that is no Unicode must not break the whole scrape."""
    return value.encode("utf-8", "backslashreplace").decode()


def exposition(registry: CollectorRegistry) -> tuple[bytes, str]:
    """Scrape a registry.

    Returns:
        The body in Prometheus's text format, and its content type.

    Raises:
        MissingDriver: prometheus_client is not installed.
    """
    prometheus = _import_prometheus()
    return prometheus.generate_latest(registry), prometheus.CONTENT_TYPE_LATEST


def _import_prometheus() -> Any:
    try:
        import prometheus_client
    except ModuleNotFoundError as error:
        if error.name != "prometheus_client":
            raise
        raise MissingDriver("prometheus_client", "metrics") from error
    return prometheus_client
