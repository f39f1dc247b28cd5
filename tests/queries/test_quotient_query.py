"""Symmetry as a part of the question: what is refused, what reports state, and the constant of continuous priors."""

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import volume
from volume import models, samplers
from volume.commands import main as cli
from volume.queries.quotient import Quotient, log_shift, weighs_draws
from volume.queries.weighting import PriorMass
from volume.reports.entries import replicated_volume
from volume.reports.limit_entries import LimitVolume
from volume.samplers import Initializer, Lattice

CUBE = volume.BooleanCube(2)
RELU, TANH = models.MLP((2, 3, 1), "relu"), models.MLP((2, 3, 1), "tanh")
GAUSSIAN = samplers.Gaussian(1.0, 0.3)
LABELS = volume.Fits(CUBE.inputs, [0, 1, 1, 1])


def ask(model: Any = RELU, prior: Any = GAUSSIAN, symmetry: Any = "quotient", classifier: Any = None):
    return volume.Query(model, prior, CUBE, classifier or volume.TruthTable(), symmetry)


@dataclass(frozen=True)
class Uneven:
    """A user's prior: the first unit of every layer is larger than the others."""

    finite = False
    has_transform = True
    separable = True
    sign_symmetric = True

    def transform(self, z, parameters):
        return {p.name: z[p.name] * jnp.where(jnp.arange(p.shape[-1]) == 0, 2.0, 1.0) for p in parameters}

    def draw(self, key, parameters, dtype=jnp.float32):
        return self.transform(samplers.standard_normal(key, parameters, dtype), parameters)

    def check(self, parameters):
        pass

    def describe(self):
        return {"name": "uneven"}


class Hidden:
    """A model of the user's own, without declared symmetries."""

    parameters = RELU.parameters
    input_shape = (2,)
    num_outputs = 1
    head = None
    apply = staticmethod(RELU.apply)

    def describe(self):
        return {"name": "hidden"}


# --- the question ---


def test_words_and_values():
    assert ask(symmetry="none").weighting == PriorMass()
    assert ask().weighting == ask(symmetry=Quotient()).weighting == Quotient()
    assert ask() == ask()
    assert ask() != ask(symmetry="none")
    assert hash(ask()) != hash(ask(symmetry="none"))
    with pytest.raises(ValueError, match=r"Unknown symmetry 'quotent'.*Did you mean 'quotient'"):
        ask(symmetry="quotent")
    for wrong in (None, 3, Quotient):
        with pytest.raises(TypeError, match="is none of 'none', 'quotient', 'pooled'"):
            ask(symmetry=wrong)


def test_conventions_state_what_is_counted():
    stated = ask(models.MLP((2, 3, 4, 1), "tanh")).conventions(dtype="float32", precision="highest")
    assert stated["symmetry"] == "quotient"
    assert "each network is counted once" in stated["symmetry_note"]
    assert "changes no class's mass" in stated["symmetry_note"]
    group = stated["symmetry_group"]
    assert group.pop("log_order") == pytest.approx(np.log(6 * 8 * 24 * 16))
    assert group == {"hidden 0": "permutations and signs of 3", "hidden 1": "permutations and signs of 4"}
    plain = ask(symmetry="none").conventions(dtype="float32", precision="highest")
    assert plain["symmetry"] == "none"
    assert "already counted" in plain["symmetry_note"]
    assert "log_shift" not in plain


@pytest.mark.parametrize(
    "prior",
    [
        GAUSSIAN,
        samplers.Uniform(1.0),
        samplers.Sphere(),
        samplers.Sphere(per_layer=True),
        Lattice.ternary(),
        Lattice(((-2, 2), (-1, 0, 1)), (0,)),
        *(Initializer(name, bias=bias) for name, bias in (("orthogonal", "normal"), ("he_uniform", "zeros"))),
    ],
    ids=repr,
)
@pytest.mark.parametrize("model", [RELU, TANH], ids=["permutations", "signs"])
def test_priors_that_treat_units_alike(model, prior):
    assert ask(model, prior).weighting.name == "quotient"


@pytest.mark.parametrize(
    ("model", "prior", "why"),
    [
        (RELU, Uneven(), r"is another law of '0.weight' after exchanging two units \(units 'hidden 0'\)"),
        (TANH, Lattice((0, 1)), "levels of '0.weight' that are not symmetric about 0"),
        (TANH, Lattice((-1, 1), (0, 1)), "levels of '0.bias' that are not symmetric"),
        (TANH, Initializer("uniform"), "draws '0.weight' from a law that is not symmetric about 0"),
        (TANH, Initializer("normal", bias="ones"), "draws '0.bias' from a law that is not symmetric"),
        (RELU, Initializer(lambda key: {}), "draws from a key, so that nothing shows"),
        (RELU, samplers.Gaussian((0.0, 0.0), (0.0, 1.0)), "those of 'hidden 0' do not in a draw"),
        (models.Polynomial(2), GAUSSIAN, "which hidden units of this Polynomial can change places"),
        (Hidden(), GAUSSIAN, "a model of your own the attribute symmetry"),
    ],
)
def test_what_a_quotient_cannot_be_asked_of(model, prior, why):
    domain = volume.Points([[0.5], [1.0]]) if isinstance(model, models.Polynomial) else CUBE
    if "Initializer" in repr(prior) and "function" in repr(prior):
        prior = Initializer(_drawn)
    with pytest.raises(ValueError, match=why):
        volume.Query(model, prior, domain, volume.TruthTable(), "quotient")


def _drawn(key):
    return {p.name: jnp.ones(p.shape) for p in RELU.parameters}


def test_one_sided_levels_do_where_units_have_no_signs():
    assert weighs_draws(ask(RELU, Lattice((0, 1))))
    assert not weighs_draws(ask())
    assert not weighs_draws(ask(RELU, Lattice((0, 1)), symmetry="none"))


def test_a_wrong_declaration_is_caught_by_the_query():
    class Wrong(Hidden):
        symmetry = models.Symmetry((models.UnitSymmetry("hidden", 3, (("0.weight", 1), ("1.weight", 0))),))

    with pytest.raises(ValueError, match="'hidden' is no symmetry of this Wrong"):
        ask(Wrong())


def test_weights_that_are_fixed_at_zero_leave_other_differences():
    """Units that their biases alone, or their outgoing weights alone, tell apart have trivial stabilisers too."""
    for prior in (
        samplers.Gaussian((0.0, 1.0), 0.5),
        samplers.Gaussian((1.0, 0.0), 0.5),
        samplers.Gaussian((0.0, 1.0)),
    ):
        assert log_shift(ask(RELU, prior)) == pytest.approx(-np.log(6))


# --- the constant ---


@pytest.mark.slow
def test_direct_subtracts_the_constant_and_keeps_shares(tmp_path):
    settings = {"method": volume.Direct(draws=20_000), "seed": 4}
    plain, once = (volume.estimate(ask(TANH, symmetry=word), **settings) for word in ("none", "quotient"))
    shift = -np.log(6 * 8)
    assert once.log_shift == pytest.approx(shift)
    np.testing.assert_array_equal(once.counts.hits, plain.counts.hits)
    for mine, other in zip(once.top(5), plain.top(5), strict=True):
        assert mine.label == other.label
        for name in ("log_volume", "log_low", "log_high"):
            assert getattr(mine, name) == pytest.approx(getattr(other, name) + shift, rel=1e-12)
        assert mine.log_share == other.log_share == other.log_volume
        assert (mine.log_share_low, mine.log_share_high) == (other.log_low, other.log_high)
    assert once.unseen == plain.unseen
    assert once.group_by(volume.Ones())["0"].log_volume == pytest.approx(plain["0000"].log_volume + shift)
    assert once.volumes(3) == pytest.approx(3 / 20_000 / 48)
    loaded = volume.load(once.save(tmp_path / "run.json"))
    assert loaded.to_dict() == once.to_dict()
    assert "volumes are prior mass divided by the number of symmetries, |G| = 48" in once.summary()
    assert "log_shift" not in plain.conventions
    assert not plain.quotient


def test_architectures_differ_by_their_constants():
    """A network and one with an unused unit more are not the same: the constant is what tells their volumes apart."""
    small, large = (log_shift(ask(models.MLP((2, width, 1)))) for width in (3, 4))
    assert large - small == pytest.approx(-np.log(4))


def test_methods_that_count_no_draws_subtract_it_too():
    """Where a report of named classes is made, for all of them; the wide limit is the quickest to ask."""
    queries = [ask(symmetry=word, classifier=LABELS) for word in ("none", "quotient")]
    plain, once = (volume.estimate(query, volume.InfiniteWidth(samples=512), seed=1)["fits"] for query in queries)
    for name in ("log_volume", "log_low", "log_high"):
        assert getattr(once, name) == pytest.approx(getattr(plain, name) - np.log(6), rel=1e-12)


def test_shifted_entries_rewrite_their_notes():
    entry = replicated_volume("fits", (-30.0, -34.0, -27.0), notes=("moved by hand",))
    moved = entry.shifted(-10.0)
    assert moved.headline == entry.headline == "bound"
    assert moved.log_estimates == (-40.0, -44.0, -37.0)
    assert moved.spread == entry.spread
    for name in ("log_volume", "log_low", "log_high", "log_bound"):
        assert getattr(moved, name) == getattr(entry, name) - 10
    assert "e-13" in entry.notes[0]
    assert "e-17" in moved.notes[0]
    assert moved.notes[1] == "moved by hand"
    dead = replicated_volume("fits", (-30.0, -np.inf)).shifted(-10.0)
    assert (dead.log_high, dead.log_estimates[1], dead.num_dead) == (-10.0, -np.inf, 1)
    limit = LimitVolume("fits", -3.0, -3.1, -2.9, 0.95, 0.01, 0.0, 4, 512, 16, 1e-10).shifted(-10.0)
    assert (limit.log_volume, limit.log_upper_bound) == (-13.0, -10.0)


@pytest.mark.slow
def test_reports_of_other_estimands_are_not_compared():
    draws = volume.Direct(draws=4000)
    none, once = (volume.estimate(ask(symmetry=word), draws, seed=i) for i, word in enumerate(("none", "quotient")))
    with pytest.raises(ValueError, match=r"the first holds prior mass, the second each network once"):
        volume.compare(none, once)
    again = volume.estimate(ask(), draws, seed=7)
    found = volume.compare(once, again, alpha=1e-6)
    assert found.agree
    assert found.rows[0].log_volume_a == once[found.rows[0].label].log_volume
    wide = volume.estimate(ask(symmetry="quotient", classifier=LABELS), volume.InfiniteWidth(samples=512))
    with pytest.raises(ValueError, match=r"the first holds each network once, its copies under log_order=1.79"):
        volume.compare(wide, volume.estimate(ask(symmetry="none", classifier=LABELS), draws))


def test_what_mixes_volumes_with_other_measures_wants_prior_mass():
    given = volume.Given(volume.Fits(CUBE.inputs[:2], [0, 1]), volume.Accuracy(CUBE.inputs[2:], [1, 1]))
    with pytest.raises(ValueError, match=r"The table of measures is of prior mass: ask with symmetry='none'"):
        volume.measure(ask(classifier=given), volume.Direct(draws=1000))
    with pytest.raises(ValueError, match="bracket is of prior mass"):
        volume.bracket(ask(), volume.Splitting())


# --- the command line ---


def test_the_command_line_asks_for_it(capsys):
    words = ["estimate", "--model", "mlp:2-2-2-1", "--activation", "sign", "--no-bias", "--coding", "-1,1"]
    words += ["--prior", "binary", "--draws", "5000", "--no-progress", "--symmetry"]
    assert cli.main([*words, "quotient"]) == 0
    shown = capsys.readouterr().out
    assert "Each network is counted once" in shown
    assert "symmetry: quotient" in shown
    assert cli.main([*words, "quotent"]) == 2
    assert "Did you mean 'quotient'" in capsys.readouterr().err
    assert cli.main([*words[:-1], "--symmetry", "pooled"]) == 2  # refused on lattices, before anything is drawn
