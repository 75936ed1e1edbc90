"""Layer 3: generators of crystals."""

import atomsym.generators.wyckoffdiff
import atomsym.generators.wyformer  # noqa: F401 - both register themselves
from atomsym.generators.batch import ProtostructureBatch, batch_of, protostructures_of, relabelled
from atomsym.generators.conditions import Conditions
from atomsym.generators.draw import Drawn, draw_different
from atomsym.generators.generated import GeneratedProtostructure
from atomsym.generators.generator import ProtostructureGenerator
from atomsym.generators.registry import generator_class, generator_names, register_generator

__all__ = [
    "Conditions",
    "Drawn",
    "GeneratedProtostructure",
    "ProtostructureBatch",
    "ProtostructureGenerator",
    "batch_of",
    "draw_different",
    "generator_class",
    "generator_names",
    "protostructures_of",
    "register_generator",
    "relabelled",
]
