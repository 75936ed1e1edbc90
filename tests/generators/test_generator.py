"""What all generators share: batches, relabelling, the distribution of groups, names and files."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from atomsym.artifacts import (
    ModelCard,
    find_generator,
    generator_files,
    load_generator,
    load_model,
    read_generator_card,
    save_generator,
    write_atomically,
)
from atomsym.core import ArtifactError, ConfigError, InputError
from atomsym.generators import (
    Conditions,
    GeneratedProtostructure,
    ProtostructureGenerator,
    batch_of,
    draw_different,
    generator_class,
    generator_names,
    protostructures_of,
    register_generator,
    relabelled,
)
from atomsym.generators.wyformer import WyFormer, WyFormerConfig
from atomsym.symmetry.wyckoff import Protostructure
from atomsym.symmetry.wyckoff.relabelling import canonical
from atomsym.symmetry.wyckoff.relabelling import relabelled as all_relabelled

CRYSTALS = [
    Protostructure(225, ((11, "a"), (17, "b"))),
    Protostructure(136, ((22, "a"), (8, "f"))),
    Protostructure(62, ((20, "c"), (22, "a"), (8, "c"), (8, "d"))),
    Protostructure(47, ((8, "i"), (22, "a"), (56, "y"))),
    Protostructure(227, ((14, "a"),)),
]
CARD = ModelCard(
    name="tiny", level_of_theory="PBE", training_data="none", licence="MIT", citation="nobody", description="for tests"
)
TINY = WyFormerConfig(element_channels=4, site_channels=2, enumeration_channels=2, layers=1, heads=1, hidden=8)


@pytest.fixture
def generator() -> WyFormer:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        found = WyFormer(TINY)
    found.learn_statistics(batch_of(CRYSTALS * 2 + CRYSTALS[:1] * 10))
    return found.eval()


def test_elements_that_no_training_crystal_has_are_never_drawn(generator: WyFormer) -> None:
    counts = {8: 6, 11: 12, 14: 2, 17: 12, 20: 2, 22: 6, 56: 2}  # crystals, not orbits: 62 has oxygen twice
    assert {z: int(n) for z, n in enumerate(generator.element_counts) if n} == counts
    assert generator.known_elements() == tuple(sorted(counts))
    drawn = generator.sample(100, generator=torch.Generator().manual_seed(0))
    assert {z for each in drawn for z in each.protostructure.elements} <= set(counts)
    everything = generator.known_conditions(Conditions())
    assert generator.n_candidates(100, everything) == 100  # no condition of the user, so nothing is chosen from
    with pytest.raises(ConfigError, match="learned from no crystal with Ds, which the conditions need"):
        generator.sample(1, generator=torch.Generator(), conditions=Conditions(required=(8, 110)))
    generator.element_counts.zero_()  # the planted bug
    drawn = generator.sample(100, generator=torch.Generator().manual_seed(0))
    assert not {z for each in drawn for z in each.protostructure.elements} <= set(counts)


def test_a_batch_holds_the_crystals() -> None:
    batch = batch_of(CRYSTALS, [{"gap": 1.5}, {}, {"gap": 2.0}, {"other": 1.0}, {}], ("gap",))
    assert protostructures_of(batch) == CRYSTALS
    np.testing.assert_equal(batch.properties.numpy()[:, 0], [1.5, np.nan, 2.0, np.nan, np.nan])
    part = batch.select(torch.tensor([4, 0]))
    assert protostructures_of(part) == [CRYSTALS[4], CRYSTALS[0]]
    assert part.elements.shape == (2, 2)
    with pytest.raises(InputError, match="5 crystals need as many"):
        batch_of(CRYSTALS, [{}], ("gap",))


def test_relabelling_draws_every_description_of_a_crystal_and_no_other() -> None:
    for crystal in CRYSTALS:
        batch = batch_of([crystal] * 400)
        found = protostructures_of(relabelled(batch, torch.Generator().manual_seed(1)))
        assert {canonical(each) for each in found} == {canonical(crystal)}
        counts = Counter(found)
        assert set(counts) == set(all_relabelled(crystal))
        assert min(counts.values()) > 400 / len(counts) / 3, "drawn evenly"


def test_relabelling_keeps_padding_and_elements() -> None:
    batch = batch_of(CRYSTALS)
    found = relabelled(batch, torch.Generator().manual_seed(1))
    assert torch.equal(found.elements, batch.elements)
    assert torch.equal(found.present, batch.present)


def test_space_groups_come_from_the_training_crystals(generator: WyFormer) -> None:
    probabilities = generator.group_probabilities(Conditions())
    assert probabilities.sum() == pytest.approx(1.0)
    assert {group: round(20 * probabilities[group]) for group in np.flatnonzero(probabilities)} == {
        225: 12, 136: 2, 62: 2, 47: 2, 227: 2,
    }  # fmt: skip
    drawn = generator.sample(150, generator=torch.Generator().manual_seed(0))
    part = sum(each.protostructure.space_group == 225 for each in drawn) / 150
    assert part == pytest.approx(0.6, abs=4 * np.sqrt(0.24 / 150))


def test_space_groups_that_cannot_meet_the_conditions_are_not_drawn(generator: WyFormer) -> None:
    small = Conditions(max_atoms=3)  # Fm-3m and Fd-3m have at least 4 atoms
    assert set(np.flatnonzero(generator.group_probabilities(small))) == {47, 136}
    assert set(np.flatnonzero(generator.group_probabilities(Conditions(), [225, 62]))) == {62, 225}
    assert generator.group_probabilities(Conditions(), [194, 166])[194] == 0.5
    with pytest.raises(ConfigError, match="no crystal of the space groups 225 meets"):
        generator.group_probabilities(small, [225])
    with pytest.raises(ConfigError, match="has not been trained"):
        WyFormer(TINY).eval().sample(3, generator=torch.Generator())
    with pytest.raises(InputError, match="no space group 0"):
        generator.sample(3, generator=torch.Generator(), space_groups=[0])
    with pytest.raises(InputError, match="must not be negative"):
        generator.sample(-1, generator=torch.Generator())
    with pytest.raises(ConfigError, match="batch must be at least 1"):
        generator.sample(3, generator=torch.Generator(), batch=0)
    assert generator.sample(0, generator=torch.Generator()) == []


def test_the_log_likelihood_includes_the_group(generator: WyFormer) -> None:
    conditions = Conditions(elements=(8,), max_orbits=1, max_atoms=2)  # in Pmmm: one atom on one of 8 points, or two
    drawn = generator.sample(50, generator=torch.Generator().manual_seed(0), conditions=conditions, space_groups=[47])
    given = generator.sample_in_groups(
        [47] * 50, generator=_after_one_draw(0, generator.n_candidates(50, conditions), 47), conditions=conditions
    )
    assert [each.protostructure for each in drawn] == [each.protostructure for each in given]
    assert [each.log_likelihood for each in drawn] == [each.log_likelihood for each in given]  # log 1 for the group
    two = generator.sample(
        50, generator=torch.Generator().manual_seed(0), conditions=conditions, space_groups=[47, 136]
    )
    inside = {each.protostructure: each.log_likelihood for each in drawn}
    shared = [each for each in two if each.protostructure in inside]
    assert shared
    for each in shared:
        assert each.log_likelihood == pytest.approx(inside[each.protostructure] + np.log(0.5), abs=1e-5)


def _after_one_draw(seed: int, n: int, group: int) -> torch.Generator:
    random = torch.Generator().manual_seed(seed)
    weights = torch.zeros(231, dtype=torch.float64)
    weights[group] = 1.0
    torch.multinomial(weights, n, replacement=True, generator=random)
    return random


def test_progress_is_told(generator: WyFormer) -> None:
    told: list[int] = []
    generator.sample(
        10, generator=torch.Generator().manual_seed(0), conditions=Conditions(max_atoms=8), batch=4,
        on_progress=told.append,
    )  # fmt: skip
    assert told == [4, 8, 10]


def test_different_draws_pass_on_what_is_aimed_at_and_how_they_were_met() -> None:
    class Recorder(ProtostructureGenerator):
        architecture = "recorder"

        def sample(self, n: int, **asked: object) -> list[GeneratedProtostructure]:
            assert (asked["targets"], asked["guidance"]) == ({"gap": 2.0}, 3.0)
            return [GeneratedProtostructure(CRYSTALS[row % 3], -1.0, row % 3, 1) for row in range(n)]

    drawn = draw_different(Recorder(None), 3, conditions=Conditions(), targets={"gap": 2.0}, guidance=3.0)
    assert [each.protostructure for each in drawn.found] == [canonical(each) for each in CRYSTALS[:3]]
    assert [(each.forced_orbits, each.redraws) for each in drawn.found] == [(0, 1), (1, 1), (2, 1)]
    assert drawn.n_repeated == drawn.n_drawn - 3


def test_generators_are_found_by_name() -> None:
    assert generator_class("wyformer") is WyFormer
    assert "wyformer" in generator_names()
    with pytest.raises(ConfigError, match="did you mean 'wyformer'"):
        generator_class("wyfomer")

    class Other(ProtostructureGenerator):
        architecture = "wyformer"

    with pytest.raises(ConfigError, match="is taken by WyFormer"):
        register_generator(Other)


def test_a_file_gives_the_generator_back(generator: WyFormer, tmp_path: Path) -> None:
    path = tmp_path / "tiny.safetensors"
    save_generator(generator, path, CARD)
    before = path.read_bytes()
    save_generator(generator, path, CARD)
    assert path.read_bytes() == before, "the same generator gives the same bytes"
    state = torch.random.get_rng_state()
    found = load_generator(path)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert (type(found), found.config, found.training) == (WyFormer, TINY, False)
    for name, tensor in generator.state_dict().items():
        assert torch.equal(found.state_dict()[name], tensor), name
    conditions = Conditions(max_atoms=12)
    one, two = (each.sample(20, generator=torch.Generator().manual_seed(4), conditions=conditions) for each in (generator, found))  # fmt: skip # noqa: E501
    assert one == two
    described = read_generator_card(path)
    assert (described.card, described.architecture, described.config["layers"]) == (CARD, "wyformer", 1)
    assert described.size == len(before)
    assert find_generator(path) == path
    for shipped in generator_files():
        known = load_generator(shipped.stem).known_elements()
        assert load_generator(shipped.stem).group_counts.sum() > 0
        assert len(known) == 88
        assert {10, 84, 95}.isdisjoint(known)
    save_generator(generator.double(), path, CARD)
    assert load_generator(path).double().state_dict().keys() == found.state_dict().keys()
    assert next(load_generator(path).parameters()).dtype == torch.float64


def test_a_damaged_or_foreign_file_is_refused(generator: WyFormer, tmp_path: Path) -> None:
    path = tmp_path / "tiny.safetensors"
    save_generator(generator, path, CARD)
    content = bytearray(path.read_bytes())
    for place in (len(content) - 3, len(content) // 2):
        broken = bytearray(content)
        broken[place] ^= 1
        write_atomically(path, bytes(broken))
        for read in (load_generator, read_generator_card):
            with pytest.raises(ArtifactError):
                read(path)
    write_atomically(path, bytes(content))
    with pytest.raises(ArtifactError, match="the format is 'atomsym-generator'"):
        load_model(path)
    import atomsym.calculators as calculators

    argon = Path(calculators.__file__).parent / "pretrained" / "argon.safetensors"
    with pytest.raises(ArtifactError, match="the format is 'atomsym-model'"):
        load_generator(argon)
    with pytest.raises(InputError, match="no generator and no file"):
        load_generator("no-such-generator")
    generator.network.group.bias.data[0] = torch.nan
    with pytest.raises(ArtifactError, match="not finite"):
        save_generator(generator, path, CARD)
