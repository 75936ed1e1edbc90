"""The settings of a mace-torch model as our config, and a refusal by name of what ours has no place for."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from atomsym.core import ConfigError, InputError
from atomsym.models.mace import MACEConfig
from atomsym.nn import ACTIVATIONS
from atomsym.symmetry import Irrep, Irreps, parse_irreps, sorted_irreps
from atomsym.workflows.convert.product_basis import ForeignCoupling

_RESIDUAL, _PLAIN = "residual", "plain"
INTERACTIONS = {  # class: (kind, density)
    "RealAgnosticInteractionBlock": (_PLAIN, False),
    "RealAgnosticResidualInteractionBlock": (_RESIDUAL, False),
    "RealAgnosticDensityInteractionBlock": (_PLAIN, True),
    "RealAgnosticDensityResidualInteractionBlock": (_RESIDUAL, True),
}
_BASES = {"BesselBasis": "bessel", "GaussianBasis": "gaussian", "ChebychevBasis": "chebyshev"}
_TRANSFORMS = {None: "none", "AgnesiTransform": "agnesi", "SoftTransform": "soft"}
_ACCELERATED = {"cuequivariance_torch": "mace_cueq_to_e3nn", "openequivariance": "mace.cli.convert_oeq_e3nn"}
_ROUNDED = 1e-6  # constants kept in single precision deviate by 1e-8 from ours
_ZBL = {"a_exp": 0.300, "a_prefactor": 0.4543, "c": (0.1818, 0.5099, 0.2802, 0.02817)}


@dataclass(frozen=True, eq=False)
class ForeignMACE:
    """A mace-torch model as the extractor describes it.

    Attributes:
        description: plain data; see ``extract_mace``.
        arrays: weights, coupling tensors and reference values by name.
    """

    description: Mapping[str, Any]
    arrays: Mapping[str, Tensor]

    @property
    def modules(self) -> Mapping[str, Any]:
        modules: Mapping[str, Any] = self.description["modules"]
        return modules

    @cached_property
    def n_layers(self) -> int:
        return sum(name.count(".") == 1 and name.startswith("interactions.") for name in self.modules)

    @property
    def elements(self) -> list[int]:
        """Atomic numbers in the model's order."""
        return [int(number) for number in self.arrays["atomic_numbers"]]

    @property
    def cutoff(self) -> float:
        return float(self.arrays["r_max"])

    def irreps(self, module: str, key: str) -> Irreps:
        """Irreps of a part of the model, without their multiplicity."""
        return parse_irreps(self.modules[module][key])[1]

    def perceptron(self, name: str) -> tuple[list[Tensor], list[dict[str, Any]]]:
        """Weights of a radial network and what is known of its layers.

        Raises:
            InputError: if its activation is not ours.
        """
        layers = self.modules[name]["layers"]
        found = [layer["activation"] for layer in layers]
        if found != ["silu"] * (len(layers) - 1) + ["none"]:
            raise InputError(f"{name}: a radial network with the activations {found} is not supported; only SiLU is")
        return [self.arrays[f"{name}.{number}"] for number in range(len(layers))], layers

    def coupling(self, key: str) -> ForeignCoupling:
        """Coupling tensor of one output and order."""
        index, value, shape = (self.arrays[f"{key}.{part}"].numpy() for part in ("index", "value", "shape"))
        return ForeignCoupling(index, value, tuple(shape.tolist()))

    def head_index(self, head: str | None) -> int:
        """Position of a head among the model's.

        Raises:
            InputError: if there is no such head, or none is named and there are several.
        """
        heads = self.description["heads"]
        if head is None and len(heads) == 1:
            return 0
        if head is None or head not in heads:
            problem = "the model has several heads" if head is None else f"the model has no head '{head}'"
            raise InputError(f"{problem}; choose one with --head: {', '.join(heads)}")
        return int(heads.index(head))

    def basis_scale(self) -> float:
        """Factor of the radial basis with respect to ours: 1 but for a rounded prefactor."""
        prefactor = self.arrays.get("radial_embedding.bessel_fn.prefactor")
        return 1.0 if prefactor is None else float(prefactor) / math.sqrt(2 / self.cutoff)


def species_order(foreign: ForeignMACE) -> Tensor:
    """Positions of the elements in the model, by increasing atomic number."""
    return torch.argsort(torch.tensor(foreign.elements))


def config_of(foreign: ForeignMACE, head: int) -> MACEConfig:
    """The config of the same architecture.

    Args:
        foreign: the model.
        head: position of the head to be taken.

    Raises:
        InputError: if the model has a feature that our MACE lacks; the message names it.
    """
    require_supported(foreign)
    hidden, channels = _hidden(foreign)
    order = species_order(foreign)
    isolated = torch.atleast_2d(foreign.arrays["atomic_energies_fn.atomic_energies"])[head][order]
    first, later = (_interaction(foreign, layer) for layer in (0, foreign.n_layers - 1))
    products = [foreign.modules[f"products.{layer}.symmetric_contractions"] for layer in range(foreign.n_layers)]
    correlations = {order for product in products for order in product["correlation"]}
    weights = [foreign.arrays[f"products.{i}.symmetric_contractions.0.1.weight"] for i in range(foreign.n_layers)]
    if len(correlations) != 1:
        raise _unsupported(f"different correlations in one model ({sorted(correlations)})")
    hidden_width, activation = _readout(foreign)
    settings = foreign.description["settings"]
    try:
        return MACEConfig(
            elements=tuple(foreign.elements[i] for i in order.tolist()),
            cutoff=foreign.cutoff,
            atomic_energies=tuple(isolated.tolist()),
            average_neighbors=float(foreign.modules["interactions.0"]["average_neighbors"]),
            scale=_of_head(foreign, "scale_shift.scale", head, 1.0),
            shift=_of_head(foreign, "scale_shift.shift", head, 0.0),
            channels=channels,
            hidden=str(hidden),
            max_degree=foreign.irreps("interactions.0.conv_tp", "irreps_in2").max_degree,
            correlation=correlations.pop(),
            n_layers=foreign.n_layers,
            n_radial=foreign.arrays["interactions.0.conv_tp_weights.0"].shape[0],
            radial_hidden=_radial_hidden(foreign),
            radial_basis=_BASES[settings["radial_embedding.bessel_fn"]],  # type: ignore[arg-type]
            distance_transform=_TRANSFORMS[settings.get("radial_embedding.distance_transform")],  # type: ignore[arg-type]
            envelope_power=int(foreign.arrays["radial_embedding.cutoff_fn.p"]),
            cutoff_on_weights=not foreign.description["apply_cutoff"],
            first_interaction=first[0],  # type: ignore[arg-type]
            interaction=later[0],  # type: ignore[arg-type]
            density=later[1],
            species_product=weights[0].shape[0] == len(foreign.elements),
            readout_hidden=hidden_width,
            readout_activation=activation,
            last_readout_only=foreign.n_layers > 1 and "readouts.1" not in foreign.modules,
            repulsion="published" if "pair_repulsion_fn" in settings else "none",
            first_density=None if first[1] == later[1] else first[1],
            frequencies=_frequencies(foreign),
        )
    except ConfigError as error:
        raise InputError(f"the model's settings have no place here: {error}") from error


def require_supported(foreign: ForeignMACE) -> None:
    """Refuse by name what our MACE has no place for.

    Raises:
        InputError: see ``config_of``.
    """
    description = foreign.description
    refuse_accelerated(description.get("packages", ()))
    if description["class"] not in ("MACE", "ScaleShiftMACE"):
        raise _unsupported(f"the class {description['class']}")
    if "joint_embedding" in description["settings"]:
        raise _unsupported("embeddings of further inputs (charge, spin, …)")
    if any("lora" in name.lower() for name in foreign.modules):
        raise _unsupported("low-rank adapters (merge them into the weights first)")
    for layer in range(foreign.n_layers):
        _interaction(foreign, layer)
    if len({_interaction(foreign, layer) for layer in range(1, foreign.n_layers)}) > 1:
        raise _unsupported("different interaction blocks after the first layer")
    settings = description["settings"]
    if settings["radial_embedding.bessel_fn"] not in _BASES:
        raise _unsupported(f"the radial basis {settings['radial_embedding.bessel_fn']}")
    if settings.get("radial_embedding.distance_transform") not in _TRANSFORMS:
        raise _unsupported(f"the distance transform {settings['radial_embedding.distance_transform']}")
    harmonics = foreign.irreps("interactions.0.conv_tp", "irreps_in2")
    if harmonics != Irreps.spherical_harmonics(harmonics.max_degree):
        raise _unsupported(f"harmonics without parity ({harmonics}, use_so3)")
    _require_constants(foreign)


def refuse_accelerated(packages: Collection[str]) -> None:
    """Refuse models whose parts were exchanged for those of another package.

    Raises:
        InputError: if one of these packages is among ``packages``.
    """
    for package, program in _ACCELERATED.items():
        if package in packages:
            raise InputError(
                f"the model was converted to {package}, whose layout of weights is another one; convert it back to "
                f"e3nn first, with mace-torch's program {program}"
            )


def _require_constants(foreign: ForeignMACE) -> None:
    """Constants that are fixed here must have their values."""
    prefix = "radial_embedding.distance_transform"
    expected: dict[str, Any] = {f"pair_repulsion_fn.{name}": value for name, value in _ZBL.items()}
    expected |= {f"{prefix}.alpha": 4.0, "pair_repulsion_fn.p": foreign.arrays["radial_embedding.cutoff_fn.p"]}
    expected["radial_embedding.cutoff_fn.r_max"] = foreign.cutoff
    centres = foreign.arrays.get("radial_embedding.bessel_fn.gaussian_weights")
    if centres is not None:
        expected["radial_embedding.bessel_fn.gaussian_weights"] = torch.linspace(0, foreign.cutoff, len(centres))
    for name, value in expected.items():
        wanted = torch.as_tensor(value, dtype=torch.float64)
        if name in foreign.arrays and not torch.allclose(foreign.arrays[name].double(), wanted, rtol=_ROUNDED):
            raise _unsupported(f"other values of {name} ({foreign.arrays[name].tolist()})")


def _unsupported(feature: str) -> InputError:
    return InputError(
        f"the model has {feature}, which cannot be converted yet; supported are MACE and ScaleShiftMACE with the "
        f"blocks {', '.join(INTERACTIONS)}"
    )


def _interaction(foreign: ForeignMACE, layer: int) -> tuple[str, bool]:
    name = foreign.modules[f"interactions.{layer}"]["class"]
    if name not in INTERACTIONS:
        raise _unsupported(f"the interaction block {name}")
    return INTERACTIONS[name]


def _hidden(foreign: ForeignMACE) -> tuple[Irreps, int]:
    """Irreps of the features between layers, 0e first, and their multiplicity."""
    channels, irreps = parse_irreps(foreign.modules["node_embedding.linear"]["irreps_out"])
    for layer in range(1, foreign.n_layers):
        channels, irreps = parse_irreps(foreign.modules[f"interactions.{layer}.linear_up"]["irreps_in"])
    for layer in range(foreign.n_layers):
        edge_channels, _ = parse_irreps(foreign.modules[f"interactions.{layer}.linear_up"]["irreps_out"])
        if edge_channels > channels:
            raise _unsupported(f"more channels on edges ({edge_channels}) than on atoms ({channels})")
    hidden = sorted_irreps(irreps)
    if len(set(hidden)) != len(hidden) or hidden[0] != Irrep(0, 1):
        raise _unsupported(f"the hidden irreps {irreps}")
    return hidden, channels


def _radial_hidden(foreign: ForeignMACE) -> tuple[int, ...]:
    found = set()
    for layer in range(foreign.n_layers):
        matrices, _ = foreign.perceptron(f"interactions.{layer}.conv_tp_weights")
        found.add(tuple(matrix.shape[0] for matrix in matrices[1:]))
    if len(found) > 1:
        raise _unsupported(f"different radial networks in one model ({sorted(found)})")
    return found.pop()


def _readout(foreign: ForeignMACE) -> tuple[int, str]:
    """Width and activation of the last layer's readout; the defaults where there is none."""
    readouts = [f"readouts.{i}" for i in range(foreign.n_layers) if f"readouts.{i}" in foreign.modules]
    expected = ["LinearReadoutBlock"] * (len(readouts) - 1)
    expected.append("NonLinearReadoutBlock" if foreign.n_layers > 1 else "LinearReadoutBlock")
    found = [foreign.modules[name]["class"] for name in readouts]
    if found != expected or len(readouts) not in (1, foreign.n_layers):
        raise _unsupported(f"the readouts {', '.join(found)}")
    if foreign.n_layers == 1:
        return 16, "silu"
    width, irreps = parse_irreps(foreign.modules[f"{readouts[-1]}.linear_1"]["irreps_out"])
    acts = foreign.modules[f"{readouts[-1]}.non_linearity"]["acts"]
    if irreps.items != (Irrep(0, 1),) or len(acts) != 1 or acts[0]["activation"] not in ACTIVATIONS:
        raise _unsupported(f"a readout network of {irreps} with {[act['activation'] for act in acts]}")
    return width // foreign.modules[readouts[-1]]["num_heads"], acts[0]["activation"]


def _frequencies(foreign: ForeignMACE) -> tuple[float, ...]:
    """Of the Bessel functions, if they are others than n π / cutoff: trained, or kept in single precision."""
    found = foreign.arrays.get("radial_embedding.bessel_fn.bessel_weights")
    if found is None:
        return ()
    usual = torch.arange(1, len(found) + 1, dtype=torch.float64) * (math.pi / foreign.cutoff)
    return () if torch.allclose(found, usual, rtol=1e-14, atol=0) else tuple(found.tolist())


def _of_head(foreign: ForeignMACE, name: str, head: int, default: float) -> float:
    values = foreign.arrays.get(name)
    return default if values is None else float(torch.atleast_1d(values)[head])
