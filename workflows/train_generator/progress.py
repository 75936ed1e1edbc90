"""How a generator's run looks in a terminal while it goes."""

from __future__ import annotations

from collections.abc import Mapping

from atomsym.workflows.train.progress import TerminalProgress


class GeneratorProgress(TerminalProgress):
    """A bar over the batches of all epochs, and a line for each epoch with its losses."""

    def on_epoch(self, row: Mapping[str, float | int | str]) -> None:
        mark = "[green]best[/]" if row["best"] else ""
        losses = f"training {row['train_loss']:7.3f}  validation {row['validation_loss']:7.3f} nats a crystal"
        self.console.print(f"epoch {row['epoch']:4}  {losses}  {mark}", highlight=False, soft_wrap=True)
