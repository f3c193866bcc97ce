"""The fault proxy: a TCP proxy with Toxiproxy's toxics, in the test's own process."""

from tether.testing.proxy.cuts import handshake_cuts
from tether.testing.proxy.fault_proxy import FaultProxy
from tether.testing.proxy.toxics import (
    Bandwidth,
    Latency,
    LimitData,
    Placed,
    ResetPeer,
    Slicer,
    SlowClose,
    Timeout,
    Toxic,
    ToxicError,
)

__all__ = [
    "Bandwidth",
    "FaultProxy",
    "Latency",
    "LimitData",
    "Placed",
    "ResetPeer",
    "Slicer",
    "SlowClose",
    "Timeout",
    "Toxic",
    "ToxicError",
    "handshake_cuts",
]
