"""The results of the benchmark of tensor products as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from atomsym.workflows.benchmarks.tensor_products_cases import Abilities, ProductBenchmark, ProductRow
from atomsym.workflows.benchmarks.tensor_products_fits import (
    ASYMPTOTIC_DEGREE,
    backends_of,
    best_curve,
    crossover,
    curve,
    products_of,
    slopes,
)
from atomsym.workflows.benchmarks.tensor_products_kinds import BASELINE, KINDS
from atomsym.workflows.benchmarks.tensor_products_peers import PEERS

TITLES = {
    "edges": "On edges: features of senders with harmonics or frames, summed",
    "nodes": "On nodes: two features of the same node",
}


def as_markdown(result: ProductBenchmark) -> str:
    """All tables, with what they were measured on."""
    settings, machine = result.settings, result.machine
    clock = "processor time on one thread" if machine["threads"] == 1 else f"wall time on {machine['threads']} threads"
    n = f"{settings.sizes[0]} edges ({settings.neighbors} a receiver) or nodes"
    parts = [
        "# Tensor products",
        f"{machine['device']}, torch {machine['torch_version']}, {settings.dtype}, {clock}, smallest of several "
        f"calls. {settings.channels[0]} channels, {n}. "
        f"Features to degree {settings.feature_degree or 'L'}, harmonics, second factors and results to L"
        f"{', each coupling in a slot of its own' if settings.separate else ''}. torch's matrix product reaches "
        f"{machine['matmul_gflops']:.0f} GFLOP/s.",
    ]
    for place in settings.places:
        parts.append(f"## {TITLES[place]}")
        for title, lines in (  # only those with rows are shown
            ("Couplings that occur and numbers that can be chosen on their own", _reach_table(result, place)),
            ("Product, ms", _time_table(result, place, "forward_ms")),
            ("Product and gradients for all operands, ms", _time_table(result, place, "gradients_ms")),
            ("Product, gradients and derivatives of the force, ms", _time_table(result, place, "second_ms")),
            *((f"Times faster than the Clebsch–Gordan of {peer}", _ratio_table(result, place, peer)) for peer in PEERS),
            ("Times faster than itself in plain torch", _ratio_table(result, place)),
            ("Harmonics or frames of the edges, once for all layers, ms", _geometry_table(result, place)),
            ("Rate in operations of the plain form, over torch's matrix product", _share_table(result, place)),
            ("Peak memory of product and gradients, MB", _time_table(result, place, "gradients_mb")),
            ("Powers of growth and crossovers", _growth_table(result, place)),
            ("Largest relative errors", _error_table(result, place)),
        ):
            if len(lines) > 2:
                parts.append(f"### {title}\n\n" + "\n".join(lines))
    return "\n\n".join(parts) + "\n"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]], left: int = 2) -> list[str]:
    rule = ["---" if n < left else "---:" for n in range(len(header))]
    return [f"| {' | '.join(row)} |" for row in (header, rule, *rows)]


def _reach_table(result: ProductBenchmark, place: str) -> list[str]:
    """A cell: couplings with an even sum + couplings with an odd one; dimension for one channel → for many."""
    found = {(item.product, item.degree): item.reach for item in result.abilities if item.place == place}
    degrees = sorted({degree for _, degree in found})
    rows = []
    totals: dict[int, str] = {}
    for name in (name for name in KINDS if any(name == known for known, _ in found)):
        cells = []
        for degree in degrees:
            reach = found.get((name, degree))
            cells.append("–")
            if reach is not None:
                cells[-1] = f"{reach.couplings_even}+{reach.couplings_odd}; {reach.dimension} → {reach.span}"
                totals[degree] = f"{reach.all_even}+{reach.all_odd}"
        rows.append([KINDS[name].label, *cells])
    rows.append(["there are", *(totals.get(degree, "–") for degree in degrees)])
    return _table(["product", *(f"L = {degree}" for degree in degrees)], rows, left=1)


def _time_table(result: ProductBenchmark, place: str, quantity: str) -> list[str]:
    degrees = sorted(result.settings.degrees)
    rows = []
    for name in products_of(result, place):
        for backend in backends_of(result, place, name):
            values = curve(result, place, name, backend, quantity)
            if values:
                rows.append([KINDS[name].label, backend, *(_number(values.get(degree)) for degree in degrees)])
    return _table(["product", "backend", *(f"L = {degree}" for degree in degrees)], rows)


def _ratio_table(result: ProductBenchmark, place: str, peer: str | None = None) -> list[str]:
    """Of the fastest backend, forward, then with gradients; beside a peer, or the product's own plain form."""
    degrees = sorted(result.settings.degrees)
    rows = []
    for name in products_of(result, place):
        for title, quantity in (("forward", "forward_ms"), ("with gradients", "gradients_ms")):
            own = best_curve(result, place, name, quantity)
            other = curve(result, place, *((BASELINE, peer) if peer else (name, "reference")), quantity)
            cells = [
                f"{other[degree] / own[degree]:.3g}" if degree in own and degree in other else "–" for degree in degrees
            ]
            if set(own) & set(other):
                rows.append([KINDS[name].label, title, *cells])
    return _table(["product", "what", *(f"L = {degree}" for degree in degrees)], rows)


def _geometry_table(result: ProductBenchmark, place: str) -> list[str]:
    """Frames of each kind, and harmonics, which all other products read."""
    degrees = sorted(result.settings.degrees)
    rows = []
    for name in (BASELINE, "so2", "so2-m2"):
        values: dict[int, float] = {}
        for backend in backends_of(result, place, name):
            for degree, value in curve(result, place, name, backend, "second_operand_ms").items():
                values[degree] = min(value, values.get(degree, value))
        if values:
            title = "harmonics" if name == BASELINE else f"frames of {KINDS[name].label}"
            rows.append([title, *(_number(values.get(degree)) for degree in degrees)])
    return _table(["what", *(f"L = {degree}" for degree in degrees)], rows, left=1)


def _share_table(result: ProductBenchmark, place: str) -> list[str]:
    degrees = sorted(result.settings.degrees)
    found: dict[tuple[str, str], dict[int, float]] = {}
    for row in _degree_rows(result, place):
        if row.share is not None:
            found.setdefault((row.key.product, row.key.backend), {})[row.key.degree] = row.share
    rows = [
        [KINDS[name].label, backend, *(f"{shares[d]:.1%}" if d in shares else "–" for d in degrees)]
        for (name, backend), shares in found.items()
    ]
    return _table(["product", "backend", *(f"L = {degree}" for degree in degrees)], rows)


def _degree_rows(result: ProductBenchmark, place: str) -> Iterator[ProductRow]:
    settings = result.settings
    for row in result.rows:
        if (row.key.place, row.key.channels, row.key.size) == (place, settings.channels[0], settings.sizes[0]):
            yield row


def _growth_table(result: ProductBenchmark, place: str) -> list[str]:
    """Powers of the forward time; degrees from which on it is faster than Clebsch–Gordan."""
    rows = []
    for name in products_of(result, place):
        for backend in backends_of(result, place, name):
            powers = slopes(result, place, name, backend, "forward_ms")
            first = backend == backends_of(result, place, name)[0] and name != BASELINE
            crossings = [
                str(crossover(result, place, name, quantity, weighed=weighed)) if first else ""
                for quantity, weighed in (("forward_ms", False), ("gradients_ms", False), ("forward_ms", True))
            ]
            cells = [str(slope) if slope is not None else "–" for slope in powers.values()]
            rows.append([KINDS[name].label, backend, *cells, *crossings])
    header = [
        "product",
        "backend",
        f"power of L + 1, L ≥ {ASYMPTOTIC_DEGREE}",
        "of channels",
        f"of {place}",
        "faster than Clebsch–Gordan from L =",
        "with gradients",
        "per dimension",
    ]
    return _table(header, rows)


def _error_table(result: ProductBenchmark, place: str) -> list[str]:
    """The worst of all degrees."""
    groups: dict[tuple[str, str], list[Abilities]] = {}
    for item in result.abilities:
        if item.place == place:
            for backend in item.symmetry:
                groups.setdefault((item.product, backend), []).append(item)
    rows = []
    for (name, backend), items in groups.items():
        errors = [item.symmetry[backend] for item in items]
        deviations = [
            row.deviation
            for row in result.rows
            if (row.key.place, row.key.product, row.key.backend) == (place, name, backend) and row.deviation is not None
        ]
        worst = (
            max(error.rotations_float64 for error in errors),
            max(error.rotations_float32 for error in errors),
            max(error.reflections_float64 for error in errors),
        )
        last = f"{max(deviations):.0e}" if deviations and backend != "reference" else ""
        rows.append([KINDS[name].label, backend, *(f"{value:.0e}" for value in worst), last])
    header = [
        "product",
        "backend",
        "rotations, float64",
        "rotations, float32",
        "reflections, float64",
        "from reference",
    ]
    return _table(header, rows)


def _number(value: float | None) -> str:
    """Three digits."""
    if value is None:
        return "–"
    return f"{value:.0f}" if value >= 99.5 else f"{value:.3g}"
