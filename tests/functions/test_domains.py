"""Domains: the order of their inputs, looking rows up, equality by content, and a sentence for every bad input."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from volume.functions.domains import BooleanCube, Domain, Points, from_description


def test_cube_counts_in_binary_first_digit_first():
    assert BooleanCube(3).inputs.tolist() == [
        [0, 0, 0],
        [0, 0, 1],
        [0, 1, 0],
        [0, 1, 1],
        [1, 0, 0],
        [1, 0, 1],
        [1, 1, 0],
        [1, 1, 1],
    ]
    assert BooleanCube(2, coding=(-1, 1)).inputs.tolist() == [[-1, -1], [-1, 1], [1, -1], [1, 1]]
    assert BooleanCube(2, coding=(5, 2)).inputs.tolist() == [[5, 5], [5, 2], [2, 5], [2, 2]]


@pytest.mark.parametrize("domain", [BooleanCube(4, (-1, 1)), Points(np.arange(24.0).reshape(4, 3, 2))])
def test_protocol_and_lookup(domain):
    assert isinstance(domain, Domain)
    assert domain.inputs.shape == (domain.num_inputs, *domain.input_shape)
    assert domain.inputs.dtype == np.float64
    assert not domain.inputs.flags.writeable
    wanted = np.array([3, 0, 1, 1])
    assert domain.index_of(domain.inputs[wanted]).tolist() == wanted.tolist()
    assert domain.index_of(jnp.asarray(domain.inputs[wanted], jnp.float32)).tolist() == wanted.tolist()


def test_lookup_treats_minus_zero_as_zero():
    assert BooleanCube(2).index_of([[-0.0, 1.0]]).tolist() == [1]
    assert Points([[1.0], [-0.0]]).index_of([[0.0]]).tolist() == [1]
    assert Points([[-0.0]]) == Points([[0.0]])


@pytest.mark.parametrize(
    "domain", [BooleanCube(3, (-1, 1)), Points([[0.1, -2.5], [1 / 3, 1e-300]]), Points(np.eye(4).reshape(4, 2, 2))]
)
def test_description_survives_json(domain):
    again = from_description(json.loads(json.dumps(domain.describe())))
    assert again == domain
    assert hash(again) == hash(domain)
    assert again.inputs.tobytes() == domain.inputs.tobytes()


def test_damaged_or_unknown_description_is_refused():
    record = Points([[0.5], [0.25]]).describe()
    record["inputs"][0][0] = 0.75
    with pytest.raises(ValueError, match="do not match their SHA-256"):
        from_description(record)
    with pytest.raises(ValueError, match="Did you mean 'points'"):
        from_description({"name": "point"})


def test_equal_by_content():
    points = Points([[1.0, 2.0], [3.0, 4.0]])
    assert points == Points(np.array([[1, 2], [3, 4]], np.int8))
    assert points != Points([[3.0, 4.0], [1.0, 2.0]])
    assert points != Points([[[1.0, 2.0]], [[3.0, 4.0]]])
    assert len({points, Points([[1, 2], [3, 4]]), Points([[1, 2]])}) == 2
    assert BooleanCube(2) != points
    assert BooleanCube(2) == BooleanCube(np.int64(2), [0, 1.0])  # type: ignore[arg-type]
    assert BooleanCube(2) != BooleanCube(2, (1, 0))


def test_equal_domains_share_one_trace():
    traces = []

    def shifted(x, domain):
        traces.append(domain)
        return x + domain.num_inputs

    jitted = jax.jit(shifted, static_argnums=1)
    for _ in range(2):
        assert jitted(1.0, Points([[1.0], [2.0]])) == 3
        assert jitted(1.0, BooleanCube(2)) == 5
    assert len(traces) == 2


def test_points_are_copied():
    mine = np.array([[1.0], [2.0]])
    points = Points(mine)
    mine[0] = 9
    assert points.inputs.tolist() == [[1], [2]]


@pytest.mark.parametrize("n", [0, -1, 25])
def test_cube_size_out_of_range(n):
    with pytest.raises(ValueError, match=r"n must lie in 1\.\.24"):
        BooleanCube(n)


@pytest.mark.parametrize("n", [2.0, "3", True, None])
def test_cube_size_not_whole(n):
    with pytest.raises(TypeError, match="whole number"):
        BooleanCube(n)


@pytest.mark.parametrize("coding", [(1, 1), (0, np.nan), (0, np.inf), (0, 0.0)])
def test_coding_not_distinct_or_not_finite(coding):
    with pytest.raises(ValueError, match="two distinct finite numbers"):
        BooleanCube(2, coding)


@pytest.mark.parametrize("coding", [(0,), (0, 1, 2), "ab", 3])
def test_coding_not_two_numbers(coding):
    with pytest.raises(ValueError, match="two numbers"):
        BooleanCube(2, coding)


@pytest.mark.parametrize(
    ("inputs", "sentence"),
    [
        ([], "shape"),
        (np.zeros((0, 3)), "at least one input"),
        (np.zeros((3, 0)), "at least one input"),
        ([1.0, 2.0], "must have shape"),
        ([[1.0, np.nan]], "row 0 .* NaN or inf"),
        ([[1.0], [np.inf]], "row 1 .* NaN or inf"),
        ([[1.0], [2.0], [1.0]], "Row 2 of Points repeats row 0"),
        ([[0.0], [-0.0]], "Row 1 of Points repeats row 0"),
        ([[1.0], [2.0, 3.0]], "rectangular array of real numbers"),
        ([["a"]], "rectangular array of real numbers"),
        ([[1j]], "rectangular array of real numbers"),
    ],
)
def test_bad_points(inputs, sentence):
    with pytest.raises(ValueError, match=sentence):
        Points(inputs)


@pytest.mark.parametrize("domain", [BooleanCube(2), Points([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0]])])
def test_rows_that_are_not_in_the_domain(domain):
    with pytest.raises(ValueError, match=r"Row 1 \(counted from 0\), \[0., 2.\], is not among the inputs of"):
        domain.index_of([[0, 1], [0, 2], [5, 5]])
    with pytest.raises(ValueError, match=r"shape \(3,\) each, but one input .* has shape \(2,\)"):
        domain.index_of([[0, 1, 0]])
    with pytest.raises(ValueError, match="NaN or inf"):
        domain.index_of([[0, np.nan]])
