"""Makes ``reference.npz``, what the authors' package says of small models: ``python make_reference.py FILE``.

Needs the package faenet (0.1.3) with torch_geometric, torch_scatter and mendeleev; written with the versions in the
file's ``versions``. Where torch_scatter cannot be built, its one function ``scatter(…, reduce="add")`` can be replaced
by ``torch.index_add``, which is how the file was made. Nothing here is needed to run the tests.

Weights are random float32 numbers. Positions, cells and edges are made here, without the package's neighbor search,
whose offsets are rounded to single precision and whose neighbors are limited in number.
"""

from __future__ import annotations

import itertools
import sys
from importlib.metadata import version
from typing import Any

import numpy as np
import torch

CUTOFF = 3.0
NUMBERS = [14, 8, 22, 14, 8]
CELL = [[3.6, 0.2, 0.0], [-0.4, 3.3, 0.5], [0.3, 0.1, 4.1]]
CRYSTAL = [[0.1, 0.0, 0.2], [1.7, 1.5, 0.1], [1.6, 0.1, 1.9], [0.0, 1.8, 2.2], [2.9, 2.4, 3.1]]
CLUSTER = [[0.0, 0.0, 0.0], [1.5, 0.3, -0.2], [-0.4, 1.6, 0.5], [0.9, 1.1, 1.8], [-1.3, -1.2, 0.9]]
ELEMENTS = [8, 14, 22]

COMMON: dict[str, Any] = {
    "cutoff": CUTOFF, "hidden_channels": 20, "num_filters": 9, "num_interactions": 2, "num_gaussians": 6,
    "tag_hidden_channels": 0, "pg_hidden_channels": 2, "phys_embeds": False, "phys_hidden_channels": 0,
    "second_layer_MLP": False, "skip_co": False, "mp_type": "updownscale_base", "graph_norm": False,
    "complex_mp": False, "energy_head": None, "regress_forces": None,
}  # fmt: skip
CASES: dict[str, dict[str, Any]] = {
    "base": {"mp_type": "base", "skip_co": "add", "energy_head": "weighted-av-initial-embeds", "complex_mp": True},
    "simple": {"mp_type": "simple", "graph_norm": True, "pg_hidden_channels": 0},
    "updownscale": {
        "mp_type": "updownscale", "skip_co": "concat_atom", "energy_head": "weighted-av-final-embeds",
        "phys_embeds": True, "phys_hidden_channels": 3, "second_layer_MLP": True,
    },
    "updownscale_base": {
        "skip_co": "concat", "graph_norm": True, "phys_embeds": True, "regress_forces": "direct",
        "force_decoder_type": "mlp", "force_decoder_model_config": {"mlp": {"hidden_channels": 7, "norm": ""}},
    },
    "updown_local_env": {
        "mp_type": "updown_local_env", "skip_co": "concat", "graph_norm": True, "second_layer_MLP": True,
        "regress_forces": "direct", "force_decoder_type": "res",
        "force_decoder_model_config": {"res": {"hidden_channels": 7, "norm": "layer"}},
    },
    "res_updown": {
        "skip_co": "concat", "second_layer_MLP": True, "phys_embeds": True, "regress_forces": "direct",
        "force_decoder_type": "res_updown",
        "force_decoder_model_config": {"res_updown": {"hidden_channels": 7, "norm": "layer"}},
    },
}  # fmt: skip


def edges(positions: np.ndarray, cell: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Source and target, shape (2, n), and the translation of the source in Å, shape (n, 3)."""
    reach = range(-2, 3) if cell is not None else range(1)
    pairs, offsets = [], []
    for shift in itertools.product(reach, repeat=3):
        offset = np.zeros(3) if cell is None else np.array(shift) @ cell
        for source, target in itertools.product(range(len(positions)), repeat=2):
            vector = positions[source] + offset - positions[target]
            if 0 < np.linalg.norm(vector) < CUTOFF:
                pairs.append((source, target))
                offsets.append(offset)
    return np.array(pairs).T, np.array(offsets)


def answer(model: Any, settings: dict[str, Any], positions: list[list[float]], cell: Any) -> dict[str, np.ndarray]:
    from torch_geometric.data import Data

    pairs, offsets = edges(np.array(positions), None if cell is None else np.array(cell))
    index, translation = torch.from_numpy(pairs), torch.from_numpy(offsets)

    def preprocess(data: Any, *_: Any) -> tuple[Any, ...]:
        vectors = data.pos[index[0]] - data.pos[index[1]] + translation
        return data.atomic_numbers, data.batch, index, vectors, vectors.norm(dim=-1)

    model.preprocess = preprocess
    data = Data(
        pos=torch.tensor(positions, requires_grad=True),
        atomic_numbers=torch.tensor(NUMBERS),
        batch=torch.zeros(len(NUMBERS), dtype=torch.int64),
    )
    found = model(data, mode="inference")
    (gradient,) = torch.autograd.grad(found["energy"].sum(), data.pos)
    result = {"energy": found["energy"].detach().numpy().reshape(1), "gradient": gradient.numpy()}
    if settings["regress_forces"]:
        result["forces"] = found["forces"].detach().numpy()
    return result


def main(file: str) -> None:
    from faenet import FAENet

    torch.set_default_dtype(torch.float64)
    arrays: dict[str, np.ndarray] = {}
    for seed, (name, changes) in enumerate(CASES.items()):
        settings = COMMON | changes
        model = FAENet(**settings).double().eval()
        generator = torch.Generator().manual_seed(seed)
        for key, weight in model.named_parameters():
            if key.endswith("phys_emb.properties"):
                continue
            drawn = torch.randn(weight.shape, generator=generator, dtype=torch.float32)
            spread = 1.5 * weight.shape[1] ** -0.5 if weight.ndim == 2 and "embedding" not in key else 0.6
            weight.data.copy_((spread * drawn).to(torch.float32))
        for key, value in model.state_dict().items():
            values = value.numpy()
            values = values[ELEMENTS] if values.ndim and values.shape[0] > 80 else values
            if "phys_emb.period" in key or "phys_emb.group" in key or "offset" in key:
                continue
            arrays[f"{name}/weights/{key}"] = values.astype(np.float32)
        for system, positions, cell in (("crystal", CRYSTAL, CELL), ("cluster", CLUSTER, None)):
            for key, values in answer(model, settings, positions, cell).items():
                arrays[f"{name}/{system}/{key}"] = values
    names = ("faenet", "torch", "torch-geometric", "mendeleev", "pandas")
    arrays["versions"] = np.array([f"{name} {version(name)}" for name in names])
    np.savez_compressed(file, **arrays)


if __name__ == "__main__":
    main(sys.argv[1])
