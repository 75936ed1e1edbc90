"""The learning curve of a generator's run as a picture."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from atomsym.training import read_log
from atomsym.workflows.plot_style import BLUE, ORANGE, plot_style, save_picture


def write_learning_curve(folder: Path, name: str) -> Path:
    """Draw ``learning.png`` into the folder of a run.

    Raises:
        InputError: if the log cannot be read.
    """
    rows = read_log(folder / "log.csv")
    with plot_style():
        figure = Figure(figsize=(4.6, 3.6), layout="constrained")
        axes = figure.subplots()
        epochs = [row["epoch"] for row in rows]
        style = "-" if len(rows) > 1 else "o"
        axes.plot(epochs, [row["train_loss"] for row in rows], style, color=ORANGE, linewidth=1.2, label="training")
        validation = [row["validation_loss"] for row in rows]
        axes.plot(epochs, validation, style, color=BLUE, linewidth=1.2, label="validation (averaged weights)")
        best = [row for row in rows if row.get("best")][-1:]
        for row in best:
            label = f"best: {row['validation_loss']:.2f} (epoch {row['epoch']:g})"
            axes.plot(row["epoch"], row["validation_loss"], "o", color=BLUE, markerfacecolor="white", label=label)
        axes.set(xlabel="epoch", ylabel="loss (nats a crystal)", title=name)
        axes.legend()
        return save_picture(figure, folder / "learning.png")
