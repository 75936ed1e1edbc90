"""Who wants to know how a run goes: progress bars and event files hang themselves in here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


class Observer:
    """Is told of every step and epoch; does nothing itself."""

    def on_step(self, epoch: int, n_epochs: int, position: int, n_batches: int, loss: float) -> None:
        """After a step: ``position`` of ``n_batches`` are done in the epoch, which counts from 0."""

    def on_epoch(self, row: Mapping[str, float | int | str]) -> None:
        """After an epoch: the row of the log."""

    def close(self) -> None:
        """At the end of the session."""


class Observers(Observer):
    """Several observers as one."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = tuple(observers)

    def on_step(self, epoch: int, n_epochs: int, position: int, n_batches: int, loss: float) -> None:
        for observer in self._observers:
            observer.on_step(epoch, n_epochs, position, n_batches, loss)

    def on_epoch(self, row: Mapping[str, float | int | str]) -> None:
        for observer in self._observers:
            observer.on_epoch(row)

    def close(self) -> None:
        for observer in self._observers:
            observer.close()
