"""``python -m atomsym.workflows.evaluate_generators``: samples of generators beside each other.

Each generator draws protostructures without conditions. All are realised and compared with real crystals as they are;
the first of them are relaxed in their free parameters as ``atomsym generate`` does, and judged by the hull of relaxed
known phases and by everything that ``atomsym evaluate-crystals`` measures. Tables of crystals of other generators are
relaxed and judged in the same way. What is done is kept, and the same command goes on with it, also with a larger
number of relaxations.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import cache, partial
from pathlib import Path

import numpy as np
from ase.calculators.calculator import BaseCalculator
from rich.console import Console

from atomsym.artifacts import write_atomically
from atomsym.core import ConfigError
from atomsym.datasets.crystals import CrystalRecord, read_crystals
from atomsym.metrics import composition_of, is_charge_balanced
from atomsym.metrics.embedding import shipped_embedding
from atomsym.workflows.calculator import make_calculator
from atomsym.workflows.evaluate_crystals.describe import CrystalSet, describe
from atomsym.workflows.evaluate_crystals.evaluation import Evaluation, evaluate
from atomsym.workflows.evaluate_crystals.hull import Hull
from atomsym.workflows.evaluate_crystals.report import report_markdown, result_as_data
from atomsym.workflows.evaluate_crystals.smact_rule import smact_rule
from atomsym.workflows.evaluate_generators.phases import Phase, hull_of, phases_as_csv, relaxed_phases
from atomsym.workflows.evaluate_generators.samples import Sample, energies_of, make_sample, name_of, records_of
from atomsym.workflows.evaluate_generators.settings import EvaluateGeneratorsSettings
from atomsym.workflows.evaluate_generators.summary import (
    DrawFacts,
    draw_facts,
    draws_table,
    facts_as_data,
    samples_table,
)
from atomsym.workflows.generate.entry import RANDOM
from atomsym.workflows.generate.prototypes import AFLOW
from atomsym.workflows.paths import make_folder
from atomsym.workflows.status_line import counted, status_line

Say = Callable[[str], None]


def evaluate_generators(
    sources: Sequence[str],
    folder: Path,
    settings: EvaluateGeneratorsSettings,
    n_relaxed: int = 1000,
    say: Say = lambda text: None,
) -> dict[str, Evaluation]:
    """The evaluation of each sample, as drawn and relaxed; reports and tables are written into the folder.

    Args:
        sources: names or files of generators, and tables or folders of crystals.
        folder: for all results; made if it is not there.
        settings: of the evaluation.
        n_relaxed: crystals of each sample that are relaxed.
        say: is told what is being done.

    Raises:
        ConfigError: if the folder was begun with other settings, or two sources have the same name.
        InputError, DataError, ArtifactError: if a source cannot be read.
        MissingDependencyError: if a package is missing that the calculator or the comparison needs.
    """
    names = [name_of(source) for source in sources]
    if not names or len(set(names)) < len(names):
        raise ConfigError(f"samples need different names, at least one; found {', '.join(names) or 'none'}")
    if not 1 <= n_relaxed <= settings.n:
        raise ConfigError(f"1 to {settings.n} crystals of each sample can be relaxed; found {n_relaxed}")
    balanced = smact_rule() if settings.smact else is_charge_balanced
    embedding = shipped_embedding()
    make_folder(folder)
    settings.keep_in(folder)

    @cache
    def calculator() -> BaseCalculator:
        return make_calculator(settings.relax)

    def progress(stage: str, done: int, of: int) -> None:
        say(counted(stage, done, of))

    samples = []
    for source, name in zip(sources, names, strict=True):
        of_sample = partial(_named, name, progress)
        samples.append(make_sample(source, folder / name, settings, n_relaxed, calculator, of_sample))
    say("reading known crystals")
    sets = {name: read_crystals(name) for name in settings.phases}
    phases = relaxed_phases(
        [crystal for crystals in sets.values() for crystal in crystals], _systems(samples), folder, settings,
        calculator, progress,
    )  # fmt: skip
    write_atomically(folder / "phases.csv", phases_as_csv(phases).encode())

    def described(name: str, crystals: Sequence[CrystalRecord], *, strict: bool) -> CrystalSet:
        s = settings.evaluation()
        tolerance = s.strict_symprec if strict else None
        return describe(
            name, crystals, symprec=s.symprec, strict_symprec=tolerance, balanced=balanced, on_progress=progress
        )

    real = described(settings.reference, sets[settings.reference], strict=True)
    known = [described(name, sets[name], strict=False) for name in settings.known]
    results: dict[str, Evaluation] = {}
    for sample in samples:
        for kind, entries in (("drawn", sample.drawn), ("relaxed", sample.relaxed)):
            if entries:
                name = f"{sample.name}, {kind}"
                distances = None if kind == "drawn" else _distances(sample, hull_of(phases))
                results[name] = evaluate(
                    described(name, records_of(entries), strict=True), real, known, settings.evaluation(), embedding,
                    hull_distances=distances, on_step=say,
                )  # fmt: skip
                _write(results[name], sample, kind, folder / sample.name, phases)
    say("writing tables")
    facts = _facts(samples, real, known, settings)
    text = f"{draws_table(facts)}\n{samples_table(results, settings.evaluation())}"
    write_atomically(folder / "table.md", text.encode())
    write_atomically(folder / "draws.json", (json.dumps(facts_as_data(facts), indent=2) + "\n").encode())
    return results


def _named(name: str, progress: Callable[[str, int, int], None], stage: str, done: int, of: int) -> None:
    progress(f"{name}: {stage}", done, of)


def _systems(samples: Sequence[Sample]) -> list[frozenset[int]]:
    return [frozenset(entry.protostructure.elements) for sample in samples for entry in sample.relaxed if entry.crystal]


def _distances(sample: Sample, hull: Hull) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    pairs = zip(records_of(sample.relaxed), energies_of(sample.relaxed), strict=True)
    return np.array([hull.distance(composition_of(crystal), float(energy)) for crystal, energy in pairs])


def _facts(
    samples: Sequence[Sample], real: CrystalSet, known: Sequence[CrystalSet], settings: EvaluateGeneratorsSettings
) -> dict[str, DrawFacts]:
    """Of what was drawn; for comparison of the known and the reference crystals."""
    learned = [each for crystals in known for each in crystals.protostructures if each is not None]
    seen = set(learned)
    facts = {
        sample.name: draw_facts(
            [each.protostructure for each in sample.drawn], seen, seed=settings.seed, forced_orbits=sample.forced_orbits
        )
        for sample in samples
        if sample.drawn
    }
    facts["known crystals"] = draw_facts(learned, seen, seed=None)
    facts[real.name] = draw_facts([each for each in real.protostructures if each is not None], seen, seed=None)
    return facts


def _write(result: Evaluation, sample: Sample, kind: str, folder: Path, phases: Sequence[Phase]) -> None:
    embedding = shipped_embedding()
    data = result_as_data(
        result, embedding, sources={"generated": sample.name, "generator_hash": sample.content_hash},
        hull=None if kind == "drawn" else f"{len(phases)} relaxed phases",
    )  # fmt: skip
    relaxations = {
        "converged": sum(bool(entry.converged) for entry in sample.relaxed),
        "failed": sum(bool(entry.note) for entry in sample.relaxed),
        "from_prototypes": sum(entry.source != RANDOM for entry in sample.relaxed),
        "mean_steps": float(np.mean([entry.steps for entry in sample.relaxed])),
    }
    if kind == "relaxed":
        data["relaxations"] = relaxations
    write_atomically(folder / f"{kind}.json", (json.dumps(data, indent=2, ensure_ascii=False) + "\n").encode())
    write_atomically(folder / f"{kind}.md", report_markdown(result, embedding).encode())


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    defaults = asdict(EvaluateGeneratorsSettings())
    parser = argparse.ArgumentParser(prog="python -m atomsym.workflows.evaluate_generators", description=__doc__)
    parser.add_argument("sources", nargs="+", metavar="SOURCE", help="a generator, or a table or folder of crystals")
    parser.add_argument("--relaxed", type=int, default=1000, help="of each sample (default: %(default)s)")
    parser.add_argument("-o", "--output", type=Path, default=Path("atomsym-generators"), metavar="FOLDER")
    parser.add_argument("--known", action="append", metavar="SET", help="crystals that are not new; repeatable")
    parser.add_argument(
        "--prototypes", nargs="*", metavar="SOURCE", help="geometries that are tried first (default: aflow and --known)"
    )
    parser.add_argument("--smact", action="store_true", help="let the package SMACT decide on charges")
    for name in ("n", "relax", "realisations", "fmax", "max_steps", "margin", "reference", "metastable", "seed"):
        default = defaults[name]
        parser.add_argument(
            f"--{name.replace('_', '-')}", type=type(default), default=default, help="(default: %(default)s)"
        )
    given = vars(parser.parse_args(arguments))
    sources, folder, n_relaxed = (given.pop(name) for name in ("sources", "output", "relaxed"))
    given["known"] = tuple(given["known"] or defaults["known"])
    given["prototypes"] = (AFLOW, *given["known"]) if given["prototypes"] is None else tuple(given["prototypes"])
    with status_line(Console(stderr=True)) as say:
        evaluate_generators(sources, folder, EvaluateGeneratorsSettings(**given), n_relaxed, say)
    Console().print((folder / "table.md").read_text(), highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main()
