"""Layer 4: model files (safetensors with JSON metadata) and the checks on them."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from atomsym.artifacts.atomic import write_atomically
from atomsym.artifacts.card import ModelCard, ModelDescription
from atomsym.artifacts.files import load_model, load_with_description, read_card, save_model, usable_device
from atomsym.artifacts.folders import find_model, model_files, register_model_folder
from atomsym.core.configs import (
    checked_settings,
    config_from_dict,
    config_from_json,
    config_to_dict,
    config_to_json,
    did_you_mean,
)

if TYPE_CHECKING:
    from atomsym.artifacts.generators import (
        GeneratorDescription,
        find_generator,
        generator_files,
        load_generator,
        read_generator_card,
        save_generator,
    )

__all__ = [
    "GeneratorDescription",
    "ModelCard",
    "ModelDescription",
    "checked_settings",
    "config_from_dict",
    "config_from_json",
    "config_to_dict",
    "config_to_json",
    "did_you_mean",
    "find_generator",
    "find_model",
    "generator_files",
    "load_generator",
    "load_model",
    "load_with_description",
    "model_files",
    "read_card",
    "read_generator_card",
    "register_model_folder",
    "save_generator",
    "save_model",
    "usable_device",
    "write_atomically",
]


def __getattr__(name: str) -> Any:
    """Names of ``atomsym.artifacts.generators``, which is imported when one is asked for: potentials do not need it."""
    if name in __all__:
        return getattr(import_module("atomsym.artifacts.generators"), name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
