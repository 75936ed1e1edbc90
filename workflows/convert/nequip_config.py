"""The settings of a nequip model as our config, and a refusal by name of what ours has no place for."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from atomsym.core import AtomsymError, ConfigError, InputError
from atomsym.core.elements import atomic_number_of
from atomsym.kernels.spherical_harmonics import spherical_harmonics
from atomsym.models.nequip import NequIPConfig
from atomsym.symmetry import Irrep, Irreps, sorted_irreps

_EMBEDDING = ("NodeTypeEmbed", "SphericalHarmonicEdgeAttrs", "EdgeLengthNormalizer", "BesselEdgeLengthEncoding")
_FACTOR, _LAYER, _REPULSION = "ApplyFactor", "ConvNetLayer", "ZBL"
_READOUT, _END = ("ScalarMLP", "PerTypeScaleShift"), ("AtomwiseReduce",)
_EVEN, _ODD = "silu", "tanh"  # activations of scalars; those that gate are even
_COULOMB = 14.399645  # eV Å
_ROUNDED = 1e-6  # constants kept in single precision


@dataclass(frozen=True, eq=False)
class ForeignNequIP:
    """A model of nequip as the extractor describes it.

    Attributes:
        description: plain data; see ``extract_nequip``.
        arrays: what the parts do, and reference values, by name.
    """

    description: Mapping[str, Any]
    arrays: Mapping[str, Tensor]

    @property
    def layers(self) -> list[Mapping[str, Any]]:
        layers: list[Mapping[str, Any]] = self.description["layers"]
        return layers

    @cached_property
    def elements(self) -> list[int]:
        """Atomic numbers in the order of the model's types.

        Raises:
            InputError: if a type is not called like an element.
        """
        found = []
        for name in self.description["type_names"]:
            try:
                found.append(atomic_number_of(name))
            except AtomsymError as error:
                raise _unsupported(
                    f"a type of atoms called '{name}'", "types must be called like their elements"
                ) from error
        return found

    @property
    def order(self) -> Tensor:
        """Positions of the elements in the model, by increasing atomic number."""
        return torch.argsort(torch.tensor(self.elements))

    def by_element(self, name: str, default: float) -> list[float]:
        """One value for all, or one an element by increasing atomic number."""
        values = self.arrays.get(name, torch.tensor([default], dtype=torch.float64))
        found: list[float] = (values if len(values) == 1 else values[self.order]).tolist()
        return found

    def network(self, name: str) -> list[Tensor]:
        """Matrices of a network by their number."""
        numbers = itertools.takewhile(lambda number: f"{name}.{number}" in self.arrays, itertools.count())
        return [self.arrays[f"{name}.{number}"] for number in numbers]


def multiplicities(text: str) -> dict[Irrep, int]:
    """Channels of each irrep in e3nn's notation, in the order in which they first appear.

    Example:
        >>> {str(irrep): n for irrep, n in multiplicities("8x0e+4x1o").items()}
        {'0e': 8, '1o': 4}
    """
    found: dict[Irrep, int] = {}
    for count, irrep in re.findall(r"(\d+)x(\d+[eo])", text):
        found[Irrep.parse(irrep)] = found.get(Irrep.parse(irrep), 0) + int(count)
    return found


def config_of(foreign: ForeignNequIP) -> NequIPConfig:
    """The config of the same network. Irreps with fewer channels than others are widened, by weights that are zero.

    Raises:
        InputError: if the model has a feature that ours lacks, or it is not said which of several is meant.
    """
    require_supported(foreign)
    about, arrays = foreign.description, foreign.arrays
    scales, neighbors = foreign.by_element("scales", 1.0), foreign.by_element("layers.0.neighbors", 1.0)
    shifts = foreign.by_element("shifts", 0.0)
    widths = _features(foreign)
    cutoffs = arrays["pair_cutoffs"][foreign.order][:, foreign.order] if "pair_cutoffs" in arrays else torch.empty(0, 0)
    repulsion = about.get("repulsion")
    try:
        return NequIPConfig(
            elements=tuple(sorted(foreign.elements)),
            cutoff=about["cutoff"],
            atomic_energies=tuple(shifts if len(shifts) > 1 else shifts * len(foreign.elements)),
            average_neighbors=sum(neighbors) / len(neighbors),
            scale=scales[0] if len(scales) == 1 else 1.0,
            channels=max(*widths.values(), arrays["embedding"].shape[1]),
            hidden=str(sorted_irreps(widths)),
            max_degree=_harmonics(foreign).max_degree,
            n_layers=len(foreign.layers),
            n_radial=len(arrays["bessel"]),
            radial_hidden=_radial_hidden(foreign),
            trainable_frequencies=not _usual_frequencies(arrays["bessel"]),
            envelope_power=round(about["envelope_power"]),
            readout_hidden=tuple(matrix.shape[1] for matrix in foreign.network("readout")[:-1]),
            element_scales=tuple(scales) if len(scales) > 1 else (),
            element_neighbors=tuple(neighbors) if len(neighbors) > 1 else (),
            pair_cutoffs=tuple(tuple(row) for row in cutoffs.clamp(max=about["cutoff"]).tolist()),
            repulsion="published" if repulsion else "none",
            repulsion_power=round(repulsion["power"]) if repulsion else 6,
        )
    except ConfigError as error:
        raise InputError(f"the model's settings do not fit: {error}") from error


def require_supported(foreign: ForeignNequIP) -> None:
    """Refuse models that the network has no place for, by what they are.

    Raises:
        InputError: naming the first such feature.
    """
    about = foreign.description
    if about["head"] not in about["heads"]:
        problem = f"the file has no model '{about['head']}'" if about["head"] else "the file has several models"
        raise InputError(f"{problem}; choose one with --head: {', '.join(about['heads'])}")
    _require_parts(foreign)
    if about["graph_fields"]:
        raise _unsupported(f"embeddings of {', '.join(about['graph_fields'])}", "energies depend on the atoms alone")
    foreign.elements  # noqa: B018 - unknown ones are refused
    harmonics = _harmonics(foreign)
    if harmonics != Irreps.spherical_harmonics(harmonics.max_degree):
        raise _unsupported(f"the harmonics {about['harmonics']}", "all degrees with natural parity are expected")
    expected = spherical_harmonics(torch.tensor([[0.6, 0.0, -0.8]], dtype=torch.float64), harmonics.max_degree)[0]
    if not torch.allclose(foreign.arrays["harmonics"], expected, rtol=0, atol=_ROUNDED):
        raise _unsupported("harmonics of another normalisation", "they must have unit variance by component")
    powers = [about["envelope_power"], *([about["repulsion"]["power"]] if "repulsion" in about else [])]
    if any(power != round(power) for power in powers):
        raise _unsupported(f"a polynomial cutoff of the power {powers[-1]:g}", "powers must be integers")
    for number, layer in enumerate(foreign.layers):
        _require_layer(number, layer)
    last = foreign.layers[-1]
    if last["gated"] or list(multiplicities(last["scalars"])) != [Irrep(0, 1)]:
        raise _unsupported(f"a last layer of {last['scalars']} {last['gated']}", "even scalars are read alone")
    _require_network("readout", about["readout"])
    counts = [foreign.arrays[f"layers.{number}.neighbors"] for number in range(len(foreign.layers))]
    if any(not torch.equal(count, counts[0]) for count in counts):
        raise _unsupported("numbers of neighbors that differ from layer to layer", "they must be the same")
    _require_repulsion(foreign)


def _require_parts(foreign: ForeignNequIP) -> None:
    about = foreign.description
    kinds = [kind for _, kind in about["parts"]]
    if "allegro" in about["packages"]:
        raise _unsupported("the architecture Allegro", "only NequIP is; the two share a program, not a network")
    known = (*_EMBEDDING, _FACTOR, _LAYER, *_READOUT, _REPULSION, *_END)
    unknown = [kind for kind in kinds if kind not in known]
    if unknown:
        raise _unsupported(f"the part {unknown[0]}", f"only {', '.join(known)} are known")
    start = [*_EMBEDDING, *([_FACTOR] if _FACTOR in kinds else [])]  # in an order that differs between versions
    expected = [_LAYER] * max(kinds.count(_LAYER), 1) + [*_READOUT]
    expected += [*([_REPULSION] if _REPULSION in kinds else []), *_END]
    if sorted(kinds[: len(start)]) != sorted(start) or kinds[len(start) :] != expected:
        raise _unsupported(
            f"the parts {', '.join(kinds)}", f"they must be {', '.join(start)}, and then {', '.join(expected)}"
        )
    if about["class"] != "ForceStressOutput":
        raise _unsupported(f"the output {about['class']}", "only energies with their derivatives are")
    if about["sum"] != ["sum", 1.0]:
        raise _unsupported(f"energies reduced by {about['sum'][0]}", "they must be sums over atoms")


def _require_layer(number: int, layer: Mapping[str, Any]) -> None:
    if layer["nonlinearity"] != "Gate":
        raise _unsupported(f"the nonlinearity {layer['nonlinearity']}", "only gates are")
    if layer["resnet"]:
        raise _unsupported(f"residual updates (convnet_resnet) in layer {number}", "only self-connections are")
    for irrep, (name, _) in layer["functions"].items():
        wanted = _EVEN if Irrep.parse(irrep).parity == 1 else _ODD
        if name != wanted:
            raise _unsupported(f"the activation {name} of scalars {irrep}", f"only {wanted} is")
    for irrep, (name, _) in layer["gates"].items():
        if name != _EVEN:
            raise _unsupported(f"the activation {name} of the gates of {irrep}", f"only {_EVEN} is")
    _require_network(f"layer {number}", layer["radial"])


def _require_network(where: str, network: Mapping[str, Any]) -> None:
    others = sorted(set(network["activations"]) - {"silu"})
    if others:
        raise _unsupported(f"the activation {others[0]} in a network ({where})", "only silu is")
    if network["biased"]:
        raise _unsupported(f"biases in a network ({where})", "only networks without are")


def _require_repulsion(foreign: ForeignNequIP) -> None:
    repulsion = foreign.description.get("repulsion")
    if repulsion is None:
        return
    if abs(repulsion["prefactor"] / (0.5 * _COULOMB) - 1) > _ROUNDED:
        raise _unsupported("a ZBL repulsion in other units than eV and Å", "only units 'metal' are")
    if [round(charge) for charge in foreign.arrays["nuclear_charges"].tolist()] != foreign.elements:
        raise _unsupported("a ZBL repulsion of other elements than the types'", "they must be the same")


def _harmonics(foreign: ForeignNequIP) -> Irreps:
    return Irreps(tuple(multiplicities(foreign.description["harmonics"])))


def _features(foreign: ForeignNequIP) -> dict[Irrep, int]:
    """Largest number of channels of each irrep of the features."""
    widths: dict[Irrep, int] = {Irrep(0, 1): 1}
    texts: Iterable[str] = (layer[key] for layer in foreign.layers for key in ("irreps_in", "scalars", "gated"))
    for text in texts:
        for irrep, count in multiplicities(text).items():
            widths[irrep] = max(widths.get(irrep, 0), count)
    return widths


def _radial_hidden(foreign: ForeignNequIP) -> tuple[int, ...]:
    """Widths of the radial networks, of different ones the largest."""
    networks = [foreign.network(f"layers.{number}.radial") for number in range(len(foreign.layers))]
    if len({len(network) for network in networks}) > 1:
        raise _unsupported("radial networks of different depth", "they must have the same in all layers")
    return tuple(max(matrix.shape[1] for matrix in same) for same in zip(*(n[:-1] for n in networks), strict=True))


def _usual_frequencies(weights: Tensor) -> bool:
    usual = torch.arange(1, len(weights) + 1, dtype=weights.dtype)
    return torch.allclose(weights, usual, rtol=1e-14, atol=0)


def basis_scale(foreign: ForeignNequIP) -> float:
    """Factor of the radial basis with respect to ours: theirs is f sinc(k x) k, x = d / cutoff."""
    cutoff = float(foreign.description["cutoff"])
    return float(foreign.description.get("basis_factor", 1.0)) * cutoff / math.pi / math.sqrt(2 / cutoff)


def _unsupported(what: str, allowed: str) -> InputError:
    return InputError(f"models with {what} cannot be converted: {allowed}")
