"""Batches, errors, optimizer groups, averages, schedules and logs."""

from __future__ import annotations

import csv
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import training_problem as problem
from hypothesis import given
from hypothesis import strategies as st

from atomsym.core import AtomsymError, ConfigError, InputError, LabelledStructure
from atomsym.models import Morse, MorseConfig
from atomsym.training import (
    EdgeBatcher,
    EmaSection,
    ErrorSums,
    OptimizerSection,
    Samples,
    ScheduleSection,
    predict,
    read_log,
)
from atomsym.training.config import LossSection, Stage
from atomsym.training.logs import CsvLog
from atomsym.training.optimizers import MovingAverage, make_optimizer
from atomsym.training.schedules import learning_rate, stage_at


@given(st.lists(st.integers(0, 60), max_size=40), st.integers(1, 7), st.integers(0, 100), st.integers(0, 5))
def test_every_structure_is_in_one_batch_within_the_bounds(edges: list[int], most: int, limit: int, epoch: int) -> None:
    batcher = EdgeBatcher(edges, structures=most, edges=limit, seed=3)
    batches = batcher.epoch(epoch)
    assert sorted(index for batch in batches for index in batch) == list(range(len(edges)))
    for batch in batches:
        assert 0 < len(batch) <= most
        assert limit == 0 or len(batch) == 1 or sum(edges[index] for index in batch) <= limit
    assert batches == EdgeBatcher(edges, structures=most, edges=limit, seed=3).epoch(epoch)


def test_epochs_and_seeds_differ_in_order() -> None:
    orders = [EdgeBatcher([1] * 30, structures=30, edges=0, seed=s).epoch(e)[0] for s in (0, 1) for e in (0, 1)]
    assert len(set(orders)) == 4


def test_edges_are_found_once(structures: list[LabelledStructure]) -> None:
    samples = Samples(structures, 6.0, torch.float32)
    assert samples.graph(3) is samples.graph(3)
    assert samples.batch([3, 1]).graph.dtype == torch.float32
    assert samples.batch([3, 1]).energy.dtype == torch.float64


def test_a_structure_that_cannot_be_a_graph_is_named(structures: list[LabelledStructure]) -> None:
    broken = replace(structures[0], positions=structures[0].positions * np.nan, source="bad.xyz:7")
    with pytest.raises(AtomsymError, match=r"bad\.xyz:7"):
        Samples([broken], 6.0, torch.float64).graph(0)


def test_errors_are_those_of_numpy_by_group_and_element(structures: list[LabelledStructure]) -> None:
    potential = Morse(MorseConfig((18,), 6.0, ((0.008,),), ((1.5,),), ((3.9,),)))
    samples = Samples(structures, 6.0, torch.float64)
    whole, parts, energies, forces = ErrorSums(), [ErrorSums(), ErrorSums()], [], []
    for index, structure in enumerate(structures):
        batch = samples.batch([index])
        found = predict(potential, batch)
        parts[index % 2].add(batch, found)
        energies.append((float(found.energy[0]) - structure.energy) / 4)
        forces.append(found.forces.numpy() - structure.forces)
    for start in (0, 7):
        batch = samples.batch(range(start, 7 if start == 0 else 16))
        whole.add(batch, predict(potential, batch))
    parts[0].merge([parts[1].rows])
    for table in (whole.table(), parts[0].table()):
        assert list(table) == ["all", "group cluster", "group crystal", "element Ar"]
        assert table["all"]["energy"].mae == pytest.approx(np.abs(energies).mean())
        assert table["all"]["energy"].rmse == pytest.approx(np.sqrt(np.square(energies).mean()))
        assert table["all"]["forces"].largest == pytest.approx(np.abs(forces).max())
        assert table["element Ar"]["forces"].rmse == pytest.approx(np.sqrt(np.square(forces).mean()))
        clusters = [e for e, s in zip(energies, structures, strict=True) if s.group == "cluster"]
        assert table["group cluster"]["energy"].mae == pytest.approx(np.abs(clusters).mean())
        assert "stress" not in table["group cluster"]
        assert table["group crystal"]["stress"].count == 9 * 12


class Decaying(Morse):
    """Morse that lets its depth decay."""

    architecture = "decaying"

    def decay_parameters(self) -> frozenset[str]:
        return frozenset({"depth"})


def test_weight_decay_acts_where_the_architecture_says() -> None:
    config = MorseConfig((18,), 6.0, ((0.01,),), ((1.5,),), ((3.9,),))
    potential = Decaying(config)
    optimizer = make_optimizer(potential, OptimizerSection(name="adamw", learning_rate=0.1, weight_decay=0.5))
    for weight in potential.parameters():
        weight.grad = torch.zeros_like(weight)
    optimizer.step()
    assert float(potential.depth.detach()) == pytest.approx(0.01 * (1 - 0.05))
    assert float(potential.alpha.detach()) == 1.5
    with pytest.raises(ConfigError, match="no weight of the architecture 'morse' takes decay"):
        make_optimizer(Morse(config), OptimizerSection(weight_decay=0.1))
    with pytest.raises(ConfigError, match="no parameters to train"):
        make_optimizer(Morse(config).requires_grad_(False), OptimizerSection())


def test_the_average_follows_its_formula() -> None:
    potential = Morse(MorseConfig((18,), 6.0, ((0.0,),), ((1.5,),), ((3.9,),)))
    average = MovingAverage(potential, EmaSection(decay=0.5, warmup=True))
    expected = 0.0
    for step in range(20):
        with torch.no_grad():
            potential.depth.fill_(float(step))
        average.update(potential, step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
        assert float(average.model.depth) == pytest.approx(expected, rel=1e-12)
    off = MovingAverage(potential, EmaSection(decay=0.0, warmup=False))
    off.update(potential, 0)
    assert torch.equal(off.model.depth, potential.depth)


def stage(**schedule: object) -> Stage:
    return Stage(10, 30, 0.1, LossSection(), ScheduleSection(**schedule))


def test_learning_rates_are_those_of_their_formulas() -> None:
    assert learning_rate(stage(), 12, 0.5) == 0.1
    assert learning_rate(stage(warmup_epochs=4.0), 11, 0.5) == pytest.approx(0.1 * 1.5 / 4)
    cosine = stage(kind="cosine", warmup_epochs=2.0, final_fraction=0.1)
    assert learning_rate(cosine, 12, 1e-9) == pytest.approx(0.1)
    assert learning_rate(cosine, 20, 1.0) == pytest.approx(0.1 * (0.1 + 0.9 * 0.5))
    assert learning_rate(cosine, 29, 1.0) == pytest.approx(0.01)
    middle = learning_rate(cosine, 16, 0.5)
    assert middle == pytest.approx(0.1 * (0.1 + 0.45 * (1 + math.cos(math.pi * 4.5 / 18))))
    assert learning_rate(stage(kind="exponential", decay=0.5), 12, 0.5) == pytest.approx(0.1 * 0.5**2.5)
    assert learning_rate(stage(kind="plateau"), 12, 0.5, 0.25) == pytest.approx(0.025)


def test_stages_begin_at_their_epochs() -> None:
    config = problem.config(epochs=9, stages=[{"start_epoch": 3}, {"start_epoch": 6}, {"start_epoch": 20}])
    assert [stage_at(config, epoch)[0] for epoch in range(10)] == [0, 0, 0, 1, 1, 1, 2, 2, 2, 2]


def test_a_log_is_cut_back_to_the_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    log = CsvLog(path, ("epoch", "loss"))
    log.write({"epoch": 1, "loss": 0.5})
    length = log.length
    log.write({"epoch": 2, "loss": 0.25})
    again = CsvLog(path, ("epoch", "loss"), length)
    again.write({"epoch": 2})
    assert read_log(path) == [{"epoch": 1.0, "loss": 0.5}, {"epoch": 2.0}]
    with path.open(newline="") as file:
        assert list(csv.reader(file)) == [["epoch", "loss"], ["1", "0.5"], ["2", ""]]
    with pytest.raises(InputError, match="bytes"):
        CsvLog(path, ("epoch", "loss"), 10**6)


def test_a_log_goes_on_with_the_columns_that_it_began_with(tmp_path: Path) -> None:
    log = CsvLog(tmp_path / "log.csv", ("epoch", "loss"))
    log.write({"epoch": 1, "loss": 0.5})
    CsvLog(tmp_path / "log.csv", ("epoch", "other", "loss"), log.length).write({"epoch": 2, "other": 3.0, "loss": 0.25})
    assert read_log(tmp_path / "log.csv") == [{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.25}]
