"""The blocking face of a manager."""

from __future__ import annotations

from collections.abc import Coroutine, Iterable
from types import TracebackType
from typing import Any, Self, TypeVar

from tether.errors import ConfigError
from tether.runtime.blocking import Blocking
from tether.runtime.manager import ReconnectManager
from tether.runtime.portal import portal, refuse_in_loop

T = TypeVar("T")


class BlockingManager:
    """What ``tether.sync.ReconnectManager`` is made of. Its members are blocking faces."""

    def __init__(self) -> None:
        self._inner = ReconnectManager()
        self._faces: dict[str, Blocking[Any]] = {}

    def _register(self, name: str, reconnector: Blocking[Any], depends_on: Iterable[str]) -> None:
        if not isinstance(reconnector, Blocking):
            raise ConfigError(f"{name}: {type(reconnector).__name__} is none of tether.sync's reconnectors")
        self._inner.register(name, reconnector._inner, depends_on=depends_on)  # noqa: SLF001 - the other face
        self._faces[name] = reconnector

    def _unregister(self, name: str) -> Blocking[Any] | None:
        self._inner.unregister(name)
        return self._faces.pop(name, None)

    def _start_all(self) -> dict[str, Exception | None]:
        refuse_in_loop()
        for face in self._faces.values():
            face._held.take()  # noqa: SLF001 - the other face
        return self._await(self._inner.start_all())

    def _stop_all(self) -> dict[str, Exception | None]:
        refuse_in_loop()
        try:
            return self._await(self._inner.stop_all())
        finally:
            for face in self._faces.values():
                face._held.drop()  # noqa: SLF001 - the other face

    def _await(self, work: Coroutine[Any, Any, T]) -> T:
        """Have a coroutine run in the portal, which is held for that long at least."""
        try:
            portal.hold()
        except BaseException:
            work.close()
            raise
        try:
            return portal.call(work)
        finally:
            portal.release()

    def _do_network_changed(self) -> None:
        for face in self._faces.values():
            if face._inner.is_started:  # noqa: SLF001 - the other face
                face._do(face._inner.network_changed)  # noqa: SLF001

    def __enter__(self) -> Self:
        self._start_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop_all()
