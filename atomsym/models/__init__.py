"""Layer 3: interatomic potentials, one file or folder per published architecture, found by name."""

from atomsym.models.backbone import Backbone, Description
from atomsym.models.escnmd import ESCNMD, ESCNMDConfig
from atomsym.models.esen import ESEN, ESENConfig
from atomsym.models.faenet import FAENet, FAENetConfig
from atomsym.models.learned import LearnedConfig, LearnedPotential
from atomsym.models.lennard_jones import ARGON, LennardJones, LennardJonesConfig, lorentz_berthelot
from atomsym.models.mace import MACE, MACEConfig
from atomsym.models.morse import COPPER, Morse, MorseConfig
from atomsym.models.nequip import NequIP, NequIPConfig
from atomsym.models.pair import PairConfig, PairPotential
from atomsym.models.potential import Potential, PotentialConfig, PotentialOutput
from atomsym.models.registry import architecture, architectures, register_architecture
from atomsym.models.statistics import DatasetStatistics
from atomsym.models.sum import Sum, SumConfig
from atomsym.models.zbl import UNIVERSAL, ZBL, Screening, ZBLConfig, zbl_energy

__all__ = [
    "ARGON",
    "COPPER",
    "ESCNMD",
    "ESEN",
    "MACE",
    "UNIVERSAL",
    "ZBL",
    "Backbone",
    "DatasetStatistics",
    "Description",
    "ESCNMDConfig",
    "ESENConfig",
    "FAENet",
    "FAENetConfig",
    "LearnedConfig",
    "LearnedPotential",
    "LennardJones",
    "LennardJonesConfig",
    "MACEConfig",
    "Morse",
    "MorseConfig",
    "NequIP",
    "NequIPConfig",
    "PairConfig",
    "PairPotential",
    "Potential",
    "PotentialConfig",
    "PotentialOutput",
    "Screening",
    "Sum",
    "SumConfig",
    "ZBLConfig",
    "architecture",
    "architectures",
    "lorentz_berthelot",
    "register_architecture",
    "zbl_energy",
]
