"""Layer 4: model files (safetensors with JSON metadata) and the checks on them."""

from atomsym.artifacts.atomic import write_atomically
from atomsym.artifacts.card import ModelCard, ModelDescription
from atomsym.artifacts.files import load_model, load_with_description, read_card, save_model, usable_device
from atomsym.artifacts.folders import find_model, model_files, register_model_folder
from atomsym.artifacts.generators import (
    GeneratorDescription,
    find_generator,
    generator_files,
    load_generator,
    read_generator_card,
    save_generator,
)
from atomsym.core.configs import (
    checked_settings,
    config_from_dict,
    config_from_json,
    config_to_dict,
    config_to_json,
    did_you_mean,
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
