"""Operations and their backends: who can do what, and who is asked.

Every kernel is an ``Operation`` with a plain-torch ``reference`` and faster backends (``cpp``, ``triton``, optional
packages). A backend states what it can do; asking for more raises ``BackendError``. With ``backend="auto"`` the
backend of highest priority that can do what is asked is taken; that choice never hides a failure.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

from atomsym.core.errors import BackendError

_FLOATS = frozenset({torch.float32, torch.float64})
_Function = TypeVar("_Function", bound=Callable[..., Any])


def constant_when_compiled(function: _Function) -> _Function:
    """Mark a function of plain arguments, so that ``torch.compile`` calls it once and keeps its result.

    The choice of a backend is made while tracing; what it looks at (processor, environment, packages) cannot be traced.
    This is ``torch.compiler.assume_constant_result`` without that function's import of the compiler, which takes
    seconds and would be paid by everyone who imports a kernel.
    """
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function


@dataclass(frozen=True)
class Backend:
    """One implementation of an operation.

    Attributes:
        name: ``reference``, ``cpp``, ``triton`` or the name of an optional package.
        function: the implementation; all backends of an operation share its signature.
        device_types: device types it runs on.
        dtypes: floating-point types it computes in.
        max_degree: largest spherical-harmonic degree l; None: any.
        derivative_order: how often it can be differentiated; None: any number of times.
        priority: ``auto`` takes the highest that can do what is asked.
        unavailable: returns None if it can be used on this machine, else the reason.
    """

    name: str
    function: Callable[..., Any]
    device_types: frozenset[str] = frozenset({"cpu", "cuda"})
    dtypes: frozenset[torch.dtype] = _FLOATS
    max_degree: int | None = None
    derivative_order: int | None = None
    priority: int = 0
    unavailable: Callable[[], str | None] = lambda: None

    def refusal(self, device: torch.device, dtype: torch.dtype, degree: int, derivative_order: int) -> str | None:
        """Why this backend cannot do what is asked; None if it can."""
        if device.type not in self.device_types:
            return f"runs on {', '.join(sorted(self.device_types))}, not on {device.type}"
        if dtype not in self.dtypes:
            return f"computes in {', '.join(sorted(map(str, self.dtypes)))}, not in {dtype}"
        if self.max_degree is not None and degree > self.max_degree:
            return f"goes up to degree {self.max_degree}, not {degree}"
        if self.derivative_order is not None and derivative_order > self.derivative_order:
            return f"can be differentiated {self.derivative_order} times, not {derivative_order}"
        return self.unavailable()


class Operation:
    """A named kernel with its backends.

    Example:
        >>> double = Operation("double")
        >>> double.register(Backend("reference", lambda x: x + x))
        >>> double.select("auto", device=torch.device("cpu"), dtype=torch.float64).name
        'reference'
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._backends: dict[str, Backend] = {}
        self._best_first: tuple[Backend, ...] = ()

    def register(self, backend: Backend) -> None:
        """Add a backend; a second one of the same name is a programming error."""
        if backend.name in self._backends:
            raise BackendError(f"{self.name} has a backend '{backend.name}' already")
        self._backends[backend.name] = backend
        self._best_first = tuple(sorted(self._backends.values(), key=lambda b: -b.priority))

    def __getitem__(self, name: str) -> Backend:
        """The backend of this name, whether or not it can be used here."""
        return self._backends[name]

    @property
    def backend_names(self) -> tuple[str, ...]:
        """All registered names, best first."""
        return tuple(backend.name for backend in self._best_first)

    def select(
        self, name: str, *, device: torch.device, dtype: torch.dtype, degree: int = 0, derivative_order: int = 0
    ) -> Backend:
        """The backend of this name, or the best capable one for ``auto``.

        Args:
            name: a backend's name or ``auto``.
            device: where the tensors are.
            dtype: their floating-point type.
            degree: largest spherical-harmonic degree involved.
            derivative_order: how often the result will be differentiated.

        Raises:
            BackendError: if the name is unknown or no backend can do what is asked; the message has the reasons.
        """
        if name == "auto":
            candidates = self._best_first
        elif name in self._backends:
            candidates = (self._backends[name],)
        else:
            raise BackendError(f"{self.name} has no backend '{name}'; known: auto, {', '.join(self.backend_names)}")
        reasons = []
        for backend in candidates:
            reason = backend.refusal(device, dtype, degree, derivative_order)
            if reason is None:
                return backend
            reasons.append(f"{backend.name} {reason}")
        raise BackendError(f"{self.name}: no backend can do this ({'; '.join(reasons)})")

    def available(
        self, *, device: torch.device, dtype: torch.dtype, degree: int = 0, derivative_order: int = 0
    ) -> tuple[str, ...]:
        """Names of the backends that can do what is asked here, best first; tests run over these."""
        return tuple(
            known
            for known in self.backend_names
            if self._backends[known].refusal(device, dtype, degree, derivative_order) is None
        )
