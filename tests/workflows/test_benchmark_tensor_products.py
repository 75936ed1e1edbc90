"""``atomsym benchmark tensor-products``: abilities are those of the mathematics, runs go on, wrong use is refused."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from typer.testing import CliRunner

from atomsym.core import ConfigError
from atomsym.core.errors import MissingDependencyError
from atomsym.core.topology import EdgeTopology
from atomsym.kernels.gaunt_product import GauntProduct, gaunt_coefficients
from atomsym.kernels.matrix_coupling import MatrixCoupling, matrix_coefficients
from atomsym.symmetry import Irreps
from atomsym.testing.tolerances import ALGEBRA, BACKEND_PARITY, EQUIVARIANCE
from atomsym.workflows.benchmarks import tensor_products as benchmark
from atomsym.workflows.benchmarks import tensor_products_measure as measure
from atomsym.workflows.benchmarks.machine import Machine
from atomsym.workflows.benchmarks.tensor_products import run_tensor_products
from atomsym.workflows.benchmarks.tensor_products_cases import (
    Abilities,
    ProductBenchmark,
    ProductBenchmarkSettings,
    ProductRow,
)
from atomsym.workflows.benchmarks.tensor_products_fits import crossover, fit_slope, slopes
from atomsym.workflows.benchmarks.tensor_products_kinds import KINDS, PLACES, Product, Shape
from atomsym.workflows.benchmarks.tensor_products_measure import Measured, draw_operands, symmetry_errors
from atomsym.workflows.benchmarks.tensor_products_peers import PEERS
from atomsym.workflows.benchmarks.tensor_products_reach import Reach, reach_of
from atomsym.workflows.benchmarks.tensor_products_tables import as_markdown
from atomsym.workflows.cli import app

SMALL = ProductBenchmarkSettings(
    products=("clebsch-gordan", "so2", "gaunt", "cp"), degrees=(1, 2), channels=(4,), sizes=(24,), sweep_degree=0
)


def product_of(name: str, place: str, degree: int) -> Product:
    product = KINDS[name].build(Shape(place, degree, degree))
    assert product is not None
    return product


@pytest.fixture
def quickly(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """Timings are not what is tested; the list grows by an entry for each."""
    calls: list[None] = []

    def seconds(task: Any, device: torch.device, repeats: int) -> float:
        task()
        calls.append(None)
        return 1e-3

    monkeypatch.setattr(measure, "_seconds", seconds)
    monkeypatch.setattr(measure, "peak_memory", lambda task: 1_000_000)
    machine = Machine("a processor", 1, "avx2", 100.0, 50.0, 80.0, 40.0, 10.0)
    monkeypatch.setattr(benchmark, "measure_machine", lambda: machine)
    return calls


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_expressivity_is_what_the_mathematics_says(degree: int) -> None:
    reach = {(place, name): reach_of(product_of(name, place, degree), place)
             for place, name in (("nodes", "clebsch-gordan"), ("nodes", "clebsch-gordan-all"), ("nodes", "gaunt"),
                                 ("nodes", "gaunt-vector"), ("nodes", "matrix"), ("nodes", "cp"), ("edges", "so2"),
                                 ("edges", "clebsch-gordan"), ("edges", "cp"))}  # fmt: skip
    even, every = {1: 4, 2: 11, 3: 23}[degree], {1: 5, 2: 15, 3: 34}[degree]  # counted paths of the literature
    everything = reach["nodes", "clebsch-gordan-all"]
    assert (everything.dimension, everything.span) == (every, every)
    assert (everything.all_even, everything.all_odd) == (even, every - even)
    assert reach["nodes", "clebsch-gordan"].dimension == even
    for name in ("gaunt", "matrix", "cp"):
        found = reach["nodes", name]
        # One factor a degree before and after the product, less the two that change nothing.
        assert found.dimension == 3 * (degree + 1) - 2
        assert (found.couplings_even, found.couplings_odd, found.span) == (even, 0, even)
    assert (reach["nodes", "gaunt-vector"].couplings_even, reach["nodes", "gaunt-vector"].couplings_odd) == (
        0,
        every - even,
    )
    frames = reach["edges", "so2"]
    assert frames.dimension == frames.span == frames.couplings_even == frames.all_even
    assert frames.all_even == sum(min(a, c) + 1 for a in range(degree + 1) for c in range(degree + 1))
    assert reach["edges", "clebsch-gordan"].span == even  # harmonics end at the degree of the features
    assert reach["edges", "cp"].span == (degree + 1) ** 2  # the ratios between harmonics are fixed
    assert max(found.residue for found in reach.values()) < ALGEBRA.float64


def test_couplings_are_those_of_the_coefficients() -> None:
    degree = 4
    irreps = Irreps.spherical_harmonics(degree)
    gaunt = gaunt_coefficients(GauntProduct((irreps, irreps), irreps))
    assert reach_of(product_of("gaunt", "nodes", degree), "nodes").couplings_even == len(gaunt)
    for name, part in (("matrix", "even"), ("matrix-odd", "odd")):
        known = matrix_coefficients(MatrixCoupling(degree, degree, degree, part=part))
        found = reach_of(product_of(name, "nodes", degree), "nodes")
        assert found.couplings_even + found.couplings_odd == len(known)


def test_cut_orders_reach_less_and_truncated_ranks_are_no_equivariant_maps() -> None:
    cut, full = (reach_of(product_of(name, "edges", 4), "edges") for name in ("so2-m2", "so2"))
    product = product_of("so2-m2", "edges", 4)
    assert cut.dimension == cut.span == product.n_weights < full.span
    assert cut.couplings_even == full.couplings_even
    assert cut.residue < ALGEBRA.float64
    for place in PLACES:
        assert reach_of(product_of("cp-all", place, 2), place).residue < ALGEBRA.float64
        truncated = reach_of(product_of("cp-quadratic", place, 2), place)
        assert 1e-3 < truncated.residue < 0.1 < reach_of(product_of("cp-linear", place, 2), place).residue


@pytest.mark.parametrize("place", PLACES)
def test_symmetry_errors_show_what_each_product_keeps(place: str) -> None:
    for name, kind in KINDS.items():
        product = kind.build(Shape(place, 3, 3))
        if product is None:
            continue
        for backend in product.backends(torch.device("cpu"), torch.float64):
            rotated, reflected = symmetry_errors(product, place, backend, torch.float64)
            exact = name not in ("cp-quadratic", "cp-linear")
            assert (rotated < EQUIVARIANCE.float64) == exact, (name, backend)
            assert (reflected < EQUIVARIANCE.float64) == product.mirror, (name, backend)
            single, _ = symmetry_errors(product, place, backend, torch.float32)
            assert (single < EQUIVARIANCE.float32) == exact, (name, backend)


@pytest.mark.parametrize("name", ["gaunt", "so2"])
def test_a_component_out_of_place_is_seen(name: str) -> None:
    right = product_of(name, "edges", 2)

    def apply(x: Tensor, y: Tensor, w: Tensor, topology: EdgeTopology, backend: str) -> Tensor:
        out = right.apply(x, y, w, topology, backend)
        return torch.cat([out[:, :4], out[:, [5, 4]], out[:, 6:]], 1)

    wrong = replace(right, apply=apply)
    assert symmetry_errors(wrong, "edges", "reference", torch.float64)[0] > 0.1
    assert reach_of(wrong, "edges").residue > 0.1


@pytest.mark.parametrize("peer", PEERS)
@pytest.mark.parametrize("place", PLACES)
def test_peers_have_the_same_product(place: str, peer: str) -> None:
    pytest.importorskip(PEERS[peer].module)
    product = product_of("clebsch-gordan", place, 2)
    given = draw_operands(product, place, 30, 3, neighbors=6, dtype=torch.float64)
    # Couplings of e3nn are numbers of single precision.
    bound = BACKEND_PARITY.float32 if peer == "e3nn" else BACKEND_PARITY.float64
    assert Measured(product, place, peer, given).deviation() < bound
    assert Measured(product, place, peer, given).times(1, 10.0).second_ms is not None
    wrong = replace(product, apply=lambda *operands: 1.001 * product.apply(*operands))
    assert Measured(wrong, place, peer, given).deviation() > 1e-4


def test_a_peer_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(PEERS, "cuequivariance", replace(PEERS["cuequivariance"], module="surely_not_there"))
    wanted = replace(SMALL, products=("clebsch-gordan",), backends=("cuequivariance",))
    with pytest.raises(MissingDependencyError, match="pip install cuequivariance cuequivariance-torch"):
        run_tensor_products(wanted, tmp_path)


@pytest.mark.parametrize(("name", "place"), [
    ("clebsch-gordan", "nodes"), ("gaunt", "nodes"), ("gaunt", "edges"), ("gaunt-vector", "nodes"), ("matrix", "nodes"),
    ("matrix", "edges"), ("cp", "nodes"), ("cp", "edges"), ("so2", "edges"), ("so2-m2", "edges"),
])  # fmt: skip
def test_counted_operations_are_those_of_the_plain_form(name: str, place: str) -> None:
    product = product_of(name, place, 3)
    given = draw_operands(product, place, 40, 8, neighbors=8, dtype=torch.float32)
    with FlopCounterMode(display=False) as counter:
        product.apply(*given.tensors, given.topology, "reference")
    counted = counter.get_total_flops()  # of matrix products; pointwise ones come on top
    work = product.work(given.tensors[0].shape[0], 40, 8)
    assert counted <= work <= 1.5 * counted


def test_slopes_and_their_errors() -> None:
    x = np.array([1.0, 2.0, 4.0, 8.0, 9.0])
    y = np.array([1.0, 9.0, 60.0, 520.0, 700.0])
    found = fit_slope(list(x), list(y))
    (power, _), covariance = np.polyfit(np.log(x), np.log(y), 1, cov=True)
    assert found is not None
    assert (found.power, found.error) == (pytest.approx(power), pytest.approx(math.sqrt(covariance[0, 0])))
    assert fit_slope([2.0, 2.0], [1.0, 2.0]) is None
    two = fit_slope([1.0, 2.0], [1.0, 8.0])
    assert two is not None
    assert (two.power, math.isnan(two.error), str(two)) == (3.0, True, "3.0")


def test_crossovers_take_the_fastest_backend_and_may_weigh_what_is_reached() -> None:
    settings = replace(SMALL, degrees=(1, 2, 3, 4, 5), places=("edges",))
    times = {
        ("clebsch-gordan", "cpp"): {1: 1.0, 2: 4.0, 3: 20.0, 4: 60.0},
        ("clebsch-gordan", "reference"): {d: 100.0 * d for d in (1, 2, 3, 4, 5)},
        ("clebsch-gordan", "e3nn"): dict.fromkeys((1, 2, 3, 4), 0.1),
        ("gaunt", "reference"): {1: 0.5, 2: 5.0, 3: 10.0, 4: 20.0, 5: 499.0},
        ("cp", "reference"): {1: 2.0, 2: 9.0},
    }
    rows = [
        ProductRow(
            {"place": "edges", "product": name, "backend": backend, "degree": d, "channels": 4, "size": 24},
            times={"forward_ms": ms, "gradients_ms": ms, "second_ms": None},
        )
        for (name, backend), values in times.items()
        for d, ms in values.items()
    ]
    dimension = {"clebsch-gordan": 40, "gaunt": 4, "cp": 4}
    abilities = [
        Abilities("edges", name, d, Reach(1, 0, 1, 0, count, count, 0.0), {})
        for name, count in dimension.items()
        for d in (1, 2, 3, 4, 5)
    ]
    result = ProductBenchmark(settings, {}, tuple(rows), tuple(abilities))
    found = crossover(result, "edges", "gaunt", "forward_ms")
    assert (found.degree, str(found), found.ratios[4]) == (3, "3", 3.0)  # degree 1 is faster, degree 2 not
    assert found.compared == (1, 2, 3, 4)  # the kernel ends there
    assert str(crossover(result, "edges", "gaunt", "forward_ms", weighed=True)) == "none to 4"
    assert str(crossover(result, "edges", "cp", "forward_ms")) == "none to 2"
    assert str(crossover(result, "edges", "so2", "forward_ms")) == "–"
    machine = {"device": "a processor", "threads": 1, "torch_version": "2", "matmul_gflops": 80.0}
    lines = as_markdown(replace(result, machine=machine)).splitlines()
    assert "| CP, exact rank | forward | 0.05 | 0.0111 | – | – | – |" in lines  # over e3nn
    assert "| CP, exact rank | forward | 1 | 1 | – | – | – |" in lines  # over itself in plain torch
    power = slopes(result, "edges", "clebsch-gordan", "reference", "forward_ms")["degree"]
    assert power is not None
    assert power.points == 3


def test_a_run_that_was_stopped_goes_on(tmp_path: Path, quickly: list[None]) -> None:
    asked = iter([False] * 5 + [True] * 100)
    stopped, finished = run_tensor_products(SMALL, tmp_path / "run", should_stop=lambda: next(asked))
    assert (len(stopped.rows), finished) == (5, False)
    result, finished = run_tensor_products(SMALL, tmp_path / "run")
    assert finished
    assert result.rows[:5] == stopped.rows
    keys = [(row.key.place, row.key.product, row.key.backend, row.key.degree) for row in result.rows]
    assert len(set(keys)) == len(keys)
    for place in PLACES:
        assert {(place, "clebsch-gordan", "reference", 2), (place, "clebsch-gordan", "e3nn", 2)} <= set(keys)
    assert ("nodes", "so2", "reference", 1) not in keys
    for row in result.rows:
        assert row.deviation is not None
        assert row.deviation < 1e-4
        assert row.times is not None
        assert row.gflops == pytest.approx(80 * row.share)  # type: ignore[operator]
    assert len(result.abilities) == 14  # four products on edges, three on nodes, two degrees
    measured = len(quickly)
    again, finished = run_tensor_products(SMALL, tmp_path / "run", should_stop=lambda: pytest.fail("nothing is left"))
    assert (again, finished, len(quickly)) == (result, True, measured)
    with pytest.raises(ConfigError, match="begun with neighbors"):
        run_tensor_products(replace(SMALL, neighbors=3), tmp_path / "run")


def test_a_command_without_time_says_how_to_go_on(tmp_path: Path, quickly: list[None]) -> None:
    arguments = ["--products", "gaunt", "--quick", "--max-minutes", "1e-9", "-o", str(tmp_path)]
    found = CliRunner().invoke(app, ["benchmark", "tensor-products", *arguments])
    assert found.exit_code == 75, found.output
    assert "Go on with: the same command" in " ".join(found.output.split())
    assert (tmp_path / "time.png").is_file()


def test_what_would_take_too_long_is_left_out(tmp_path: Path, quickly: list[None]) -> None:
    settings = replace(SMALL, places=("edges",), products=("gaunt",), backends=("reference",), degrees=(1, 2, 8))
    result, finished = run_tensor_products(replace(settings, max_seconds=0.5), tmp_path)
    # By the clock of this test a call takes 1 ms; six powers of the degree make 0.7 s of it at degree 8.
    assert [bool(row.left_out) for row in result.rows] == [False, False, True]
    assert finished


def test_the_command_writes_tables_and_pictures(tmp_path: Path, quickly: list[None]) -> None:
    arguments = ["--products", "clebsch-gordan,so2,gaunt,cp,cp-quadratic", "--quick", "--json", "-o", str(tmp_path)]
    found = CliRunner().invoke(app, ["benchmark", "tensor-products", *arguments], catch_exceptions=False)
    assert found.exit_code == 0, found.output
    result = json.loads(found.stdout)
    assert json.loads((tmp_path / "result.json").read_text()) == result
    tables = (tmp_path / "tables.md").read_text()
    assert "| Clebsch–Gordan | 4+0; 4 → 4 | 11+0; 11 → 11 | 23+0; 23 → 23 |" in tables
    assert "| SO(2), all orders | 5+0; 5 → 5 | 14+0; 14 → 14 | 30+0; 30 → 30 |" in tables
    assert "| Clebsch–Gordan | e3nn | 1 | 1 | 1 |" in tables
    assert "| SO(2), all orders | with gradients | 1 | 1 | 1 |" in tables
    assert tables.count("### Powers of growth and crossovers") == 2
    for name in ("time.png", "normalised.png"):
        assert (tmp_path / name).stat().st_size > 20_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--products", "clebsch"], "products can be clebsch-gordan"),
        (["--places", ""], "places can be edges, nodes; found nothing"),
        (["--degrees", "1,two"], "--degrees takes whole numbers"),
        (["--degrees", "0"], "degrees must be numbers of at least 1"),
        (["--dtype", "float16"], "dtype must be float32 or float64"),
        (["--device", "tpu"], "device must be cpu"),
        (["--max-seconds", "0"], "max_seconds must be above 0"),
        (["--products", "so2", "--places", "nodes"], "no product can be had"),
        (["--trained", "somewhere"], "--trained goes with --in-model"),
        (["--in-model", "--time-epochs", "1"], "--time-epochs goes with --trained"),
    ],
)
def test_wrong_use_ends_before_any_work(
    arguments: list[str], message: str, tmp_path: Path, quickly: list[None]
) -> None:
    found = CliRunner().invoke(app, ["benchmark", "tensor-products", *arguments, "-o", str(tmp_path / "out")])
    assert found.exit_code != 0
    assert message in " ".join((str(found.exception) + found.output).split())
    assert not quickly
    assert not (tmp_path / "out").exists()
