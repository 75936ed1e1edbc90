"""Calculators of other packages for the benchmark of potentials, all with the weights of one model of mace-torch."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator

from atomsym.models import MACEConfig

_BLOCKS = {"residual": "RealAgnosticResidualInteractionBlock", "plain": "RealAgnosticInteractionBlock"}


def foreign_model(config: MACEConfig, dtype: torch.dtype) -> torch.nn.Module:
    """A model of mace-torch with random weights and the settings of a config of ours.

    It has the coupling basis that mace-torch's training command chooses, the only one that symmetrix reads.
    """
    import mace.modules  # first: it lets torch load the constants of e3nn
    from e3nn import o3

    torch.manual_seed(0)
    torch.set_default_dtype(dtype)
    blocks = mace.modules.interaction_classes
    model: torch.nn.Module = mace.modules.ScaleShiftMACE(
        r_max=config.cutoff,
        num_bessel=config.n_radial,
        num_polynomial_cutoff=config.envelope_power,
        max_ell=config.max_degree,
        interaction_cls=blocks[_BLOCKS[config.interaction]],
        interaction_cls_first=blocks[_BLOCKS[config.first_interaction]],
        num_interactions=config.n_layers,
        num_elements=len(config.elements),
        hidden_irreps=o3.Irreps([(config.channels, irrep) for irrep in config.hidden.split("+")]),
        MLP_irreps=o3.Irreps([(config.readout_hidden, "0e")]),
        gate=torch.nn.functional.silu,
        atomic_energies=np.array(config.atomic_energies),
        avg_num_neighbors=config.average_neighbors,
        atomic_numbers=list(config.elements),
        correlation=config.correlation,
        atomic_inter_scale=config.scale,
        atomic_inter_shift=config.shift,
        use_reduced_cg=False,
    )
    return model


def mace_calculator(module: torch.nn.Module, dtype: str, atoms: Atoms) -> Calculator:
    """mace-torch's own calculator, on the CPU."""
    from mace.calculators import MACECalculator

    return MACECalculator(models=module, device="cpu", default_dtype=dtype)


def symmetrix_calculator(module: torch.nn.Module, dtype: str, atoms: Atoms) -> Calculator:
    """symmetrix's calculator, with tables for the elements of these atoms only, as one makes them for a simulation.

    Its radial functions are splines with 256 knots, which limits its agreement in double precision.
    """
    from symmetrix import Symmetrix
    from symmetrix.extract_mace_data import extract_mace_data

    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)  # the extraction has no argument for it
    try:
        with TemporaryDirectory() as folder:
            saved, extracted = Path(folder, "model.model"), Path(folder, "model.json")
            torch.save(module, saved)
            extracted.write_text(json.dumps(extract_mace_data(saved, sorted(set(atoms.numbers.tolist())))))
            return Symmetrix(extracted, dtype=dtype)
    finally:
        torch.set_default_dtype(default)


PEER_CALCULATORS: dict[str, Callable[[torch.nn.Module, str, Atoms], Calculator]] = {
    "mace-torch": mace_calculator,
    "symmetrix": symmetrix_calculator,
}
"""Makers of calculators from a model of mace-torch, a precision and the atoms that they are for."""
