"""One word of a config chooses the product; what cannot be is refused when the config is made."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from atomsym.core import ConfigError
from atomsym.inference import engine_for
from atomsym.kernels.cp_product import CPProduct
from atomsym.kernels.gaunt_product import GauntConvolution
from atomsym.kernels.so2_convolution import SO2Product
from atomsym.kernels.tensor_product import ChannelwiseProduct
from atomsym.models import MACE, MACEConfig, NequIP, NequIPConfig

BASE: dict[str, Any] = {
    "elements": (1, 8),
    "cutoff": 3.0,
    "atomic_energies": (0.0, 0.0),
    "average_neighbors": 4.0,
    "channels": 2,
    "radial_hidden": (4,),
    "max_degree": 2,
}
KINDS = {"clebsch-gordan": ChannelwiseProduct, "so2": SO2Product, "gaunt": GauntConvolution, "cp": CPProduct}


@pytest.mark.parametrize("name", KINDS)
def test_the_word_chooses_the_product_of_every_layer(name: str) -> None:
    mace, nequip = MACE(MACEConfig(**BASE, product=name)), NequIP(NequIPConfig(**BASE, product=name))  # type: ignore
    for layer in (*mace.interactions, *nequip.layers):
        assert isinstance(layer.product, KINDS[name])


def test_the_default_has_the_weights_it_always_had() -> None:
    """Names and shapes, so that models made before the word existed load as they are."""
    assert MACEConfig(**BASE).product == NequIPConfig(**BASE).product == "clebsch-gordan"
    shapes = {name: tuple(weight.shape) for name, weight in MACE(MACEConfig(**BASE)).named_parameters()}
    widths = [shape for name, shape in shapes.items() if name.startswith("interactions.1.radial") and 4 in shape]
    n_paths = ChannelwiseProduct.separate(
        MACEConfig(**BASE).features(1), MACEConfig(**BASE).harmonics, MACEConfig(**BASE).messages(1)
    ).n_paths
    assert (4, n_paths * 2) in widths or (n_paths * 2, 4) in widths


@pytest.mark.parametrize(
    ("config", "change", "message"),
    [
        (MACEConfig, {"product": "fft"}, "product must be one of clebsch-gordan, so2, gaunt, cp; found 'fft'"),
        (MACEConfig, {"product": "gaunt", "hidden": "0e+1e"}, r"functions on the sphere.*found '0e\+1e'"),
        (MACEConfig, {"product": "gaunt", "hidden": "0e+0o+1o"}, "each degree once"),
        (NequIPConfig, {"product": "gaunt", "parity": False, "hidden": "0e+1e"}, "take parity=True"),
        (MACEConfig, {"product": "cp", "hidden": "0e+1e"}, r"all degrees from 0 on.*found '0e\+1e'"),
        (MACEConfig, {"product": "cp", "hidden": "0e+2e"}, "Take so2"),
        (MACEConfig, {"product": "cp", "max_degree": 4}, "up to degree 3"),
        (NequIPConfig, {"product": "cp", "hidden": "0e+0o+1o+1e"}, "all degrees from 0 on"),
        (NequIPConfig, {"product": "cp", "parity": False, "hidden": "0e+2e"}, r"of parity \+1"),
    ],
)
def test_what_cannot_be_is_refused(config: Any, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config(**(BASE | change))


def test_the_compiled_engine_declines_other_products() -> None:
    for name, taken in (("clebsch-gordan", True), ("so2", False), ("gaunt", False), ("cp", False)):
        model = MACE(MACEConfig(**BASE, product=name))  # type: ignore[arg-type]
        assert (engine_for(model, torch.float32) is not None) == taken
        if not taken:
            with pytest.raises(ConfigError, match=f"the model has '{name}'"):
                _ = model.interactions[0].channelwise
