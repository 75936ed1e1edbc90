"""All tensor products of the package beside each other: what they can express, how exact they are, what they cost."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import torch

from atomsym.artifacts import write_atomically
from atomsym.core import ConfigError
from atomsym.workflows.benchmarks.case_log import append_case, read_cases, require_same_settings
from atomsym.workflows.benchmarks.machine import measure_machine
from atomsym.workflows.benchmarks.tensor_products_cases import (
    Abilities,
    ProductBenchmark,
    ProductBenchmarkSettings,
    ProductCase,
    ProductRow,
    Symmetry,
)
from atomsym.workflows.benchmarks.tensor_products_kinds import BASELINE, KINDS, Product, Shape
from atomsym.workflows.benchmarks.tensor_products_measure import (
    Measured,
    draw_operands,
    gpu_matmul_rate,
    symmetry_errors,
)
from atomsym.workflows.benchmarks.tensor_products_peers import PEERS
from atomsym.workflows.benchmarks.tensor_products_reach import Reach, reach_of
from atomsym.workflows.paths import make_folder
from atomsym.workflows.stopping import Stop

Progress = Callable[[int, int, str], None]

_GROWTH = 6.0  # power of the degree with which the time of the next one is foreseen


def run_tensor_products(
    settings: ProductBenchmarkSettings, folder: Path, progress: Progress | None = None, should_stop: Stop | None = None
) -> tuple[ProductBenchmark, bool]:
    """Measure every case that the folder does not hold yet, with torch's present number of threads.

    Args:
        settings: what to measure.
        folder: created; may hold cases of the same settings.
        progress: called with the number of finished cases, of all, and the present one.
        should_stop: asked before every case.

    Returns:
        The measured cases, and whether these are all.

    Raises:
        ConfigError: if the folder was begun with other settings, or no case is left by the settings.
        InputError: if the folder's file of cases cannot be read.
        MissingDependencyError: if a peer is asked for by its name and not installed.
    """
    cases = list(all_cases(settings))
    if not cases:
        raise ConfigError("no product can be had at these places and degrees with these backends")
    make_folder(folder)
    threads = torch.get_num_threads()
    plain = json.loads(json.dumps({**asdict(settings), "threads": threads}))
    require_same_settings(folder, plain)
    machine = _machine(folder, settings)
    peak = machine["matmul_gflops"]
    done = {row.key: row for row in read_cases(folder, ProductRow)}
    if any(case not in done for case in cases):
        _warm_up()
    finished = True
    for number, case in enumerate(cases):
        if case in done:
            continue
        if should_stop is not None and should_stop():
            finished = False
            break
        if progress is not None:
            where = f"degree {case.degree}, {case.channels} channels, {case.size} {case.place}"
            progress(number, len(cases), f"{KINDS[case.product].label}, {case.backend}, {where}")
        row = _measure(case, settings, peak, list(done.values()))
        append_case(folder, row)
        done[case] = row
    abilities = _abilities(settings, folder, should_stop if finished else lambda: True)
    finished = finished and len(abilities) == len(_shapes(settings))
    result = ProductBenchmark(settings, machine, tuple(done[case] for case in cases if case in done), abilities)
    return result, finished


def _warm_up() -> None:
    """Calls that do not count.

    The allocator of a new process gives memory back until it has learned not to: gradients at L = 1 took three times as
    long in the first half second.
    """
    product = _product(Shape("edges", 2, 2), BASELINE)
    assert product is not None
    given = draw_operands(product, "edges", 500, 128, neighbors=20, dtype=torch.float32)
    fastest = product.backends(torch.device("cpu"), torch.float32)[0]
    for _ in range(3):
        Measured(product, "edges", fastest, given).times(5, 1.0)


def all_cases(settings: ProductBenchmarkSettings) -> Iterator[ProductCase]:
    """The sweep over degrees, then those over channels and sizes, each with the products that there are."""
    channels, size = settings.channels[0], settings.sizes[0]
    points = [(degree, channels, size) for degree in settings.degrees]
    if settings.sweep_degree:
        points += [(settings.sweep_degree, other, size) for other in settings.channels]
        points += [(settings.sweep_degree, channels, other) for other in settings.sizes]
    for place in settings.places:
        for degree, wide, n in dict.fromkeys(points):
            for name in settings.products:
                for backend in _backends(settings, place, name, degree):
                    yield ProductCase(place, name, backend, degree, wide, n)


def _backends(settings: ProductBenchmarkSettings, place: str, name: str, degree: int) -> tuple[str, ...]:
    product = _product(settings.shape(place, degree), name)
    if product is None:
        return ()
    there = product.backends(torch.device(settings.device), settings.torch_dtype)
    if name == BASELINE:
        there += tuple(peer for peer in PEERS if PEERS[peer].installed or peer in settings.backends)
    return tuple(backend for backend in there if not settings.backends or backend in settings.backends)


@cache
def _product(shape: Shape, name: str) -> Product | None:
    return KINDS[name].build(shape)


def _measure(
    case: ProductCase, settings: ProductBenchmarkSettings, peak: float, before: list[ProductRow]
) -> ProductRow:
    foreseen = _foreseen_seconds(case, before)
    if foreseen > settings.max_seconds:
        return ProductRow(asdict(case), left_out=f"about {foreseen:.0f} s a call foreseen")
    product = _product(settings.shape(case.place, case.degree), case.product)
    if product is None:
        raise ConfigError(f"there is no {case.product} on {case.place} at degree {case.degree}")
    dtype = settings.torch_dtype
    given = draw_operands(
        *(product, case.place, case.size, case.channels),
        neighbors=settings.neighbors,
        dtype=dtype,
        device=settings.device,
    )
    measured = Measured(product, case.place, case.backend, given)
    deviation = measured.deviation()
    times = measured.times(settings.repeats, settings.max_seconds)
    rate = product.work(given.tensors[0].shape[0], case.size, case.channels) / times.forward_ms * 1e-6
    return ProductRow(asdict(case), "", asdict(times), rate, rate / peak, deviation)


def _foreseen_seconds(case: ProductCase, before: list[ProductRow]) -> float:
    """Of a call with gradients, from the measured case that is nearest below it."""
    found = [
        (row.key, row.times["gradients_ms"])
        for row in before
        if row.times is not None and (row.key.place, row.key.product, row.key.backend) == _who(case)
    ]
    known = [(key, ms) for key, ms in found if key.degree <= case.degree and ms is not None]
    if not known:
        return 0.0
    key, ms = max(known, key=lambda item: (item[0].degree, item[0].channels * item[0].size))
    growth = ((case.degree + 1) / (key.degree + 1)) ** _GROWTH
    return 1e-3 * ms * growth * max(case.channels * case.size / (key.channels * key.size), 1.0)


def _who(case: ProductCase) -> tuple[str, str, str]:
    return case.place, case.product, case.backend


def _machine(folder: Path, settings: ProductBenchmarkSettings) -> dict[str, Any]:
    """The ceilings, measured once a folder."""
    file = folder / "machine.json"
    if file.is_file():
        kept: dict[str, Any] = json.loads(file.read_text())
        return kept
    found: dict[str, Any] = asdict(measure_machine())
    on_cpu = settings.device == "cpu"
    found["matmul_gflops"] = (
        found[f"matmul_gflops_{settings.dtype}"] if on_cpu else gpu_matmul_rate(settings.torch_dtype)
    )
    found["device"] = found["processor"] if on_cpu else torch.cuda.get_device_name()
    write_atomically(file, (json.dumps(found, indent=2) + "\n").encode())
    return found


def _shapes(settings: ProductBenchmarkSettings) -> list[tuple[str, str, int]]:
    """Of the sweep over degrees."""
    return [
        (place, name, degree)
        for place in settings.places
        for degree in settings.degrees
        for name in settings.products
        if _backends(settings, place, name, degree)
    ]


def _abilities(settings: ProductBenchmarkSettings, folder: Path, should_stop: Stop | None) -> tuple[Abilities, ...]:
    """Of every product and degree, from ``abilities.json`` where they are there already."""
    file = folder / "abilities.json"
    kept: list[dict[str, Any]] = json.loads(file.read_text()) if file.is_file() else []
    found = {(item["place"], item["product"], item["degree"]): _abilities_of(item) for item in kept}
    for place, name, degree in _shapes(settings):
        if (place, name, degree) in found:
            continue
        if should_stop is not None and should_stop():
            break
        product = _product(settings.shape(place, degree), name)
        merged = _product(Shape(place, degree, settings.feature_degree or degree), name)
        if product is None or merged is None:
            continue
        symmetry = {}
        for backend in _backends(settings, place, name, degree):
            if backend not in PEERS:
                double, reflections = symmetry_errors(product, place, backend, torch.float64, settings.device)
                single, _ = symmetry_errors(product, place, backend, torch.float32, settings.device)
                symmetry[backend] = Symmetry(double, single, reflections)
        found[place, name, degree] = Abilities(place, name, degree, reach_of(merged, place), symmetry)
        write_atomically(file, (json.dumps([asdict(item) for item in found.values()], indent=2) + "\n").encode())
    return tuple(found[key] for key in _shapes(settings) if key in found)


def _abilities_of(item: dict[str, Any]) -> Abilities:
    symmetry = {backend: Symmetry(**values) for backend, values in item["symmetry"].items()}
    return Abilities(item["place"], item["product"], item["degree"], Reach(**item["reach"]), symmetry)
