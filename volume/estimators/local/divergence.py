"""How far a network's behaviour is from a trained one's, the anchor's: what bounds a local volume
(`volume.estimators.local.local`).

Quantities, D(anchor) = 0 for each:

* "kl": mean over the domain's inputs of KL(p_anchor || p_theta) in nats, p the softmax of the outputs; with one output
  f, the Bernoulli law with sigmoid(f).
* "agreement": the share of the domain's inputs that theta decides otherwise (ties as everywhere: output == 0 is
  class 0, argmax ties go to the lowest index).
* a function of yours: any jittable ``fn(params, data) -> scalar``, such as a loss less its value at the anchor.

NaN is no distance: such a network lies outside every region. An infinite divergence lies outside too, and is no fault.

Shape letters: N inputs, C outputs, P parameters (all numbers of a network in one row).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from volume.classifiers.base import BoundClassifier
from volume.common.choices import DIVERGENCES
from volume.common.content import digest
from volume.common.validation import check_choice
from volume.models import Model, Parameter, Params

# Of the least cutoff: what rounding may leave of a user's divergence at the anchor.
AT_ANCHOR = 1e-3
# Below this distance of log-odds the series of KL loses fewer digits than the logarithm of a sum.
NEAR = 0.5
TERMS = 12  # of the series of exp


@dataclass(frozen=True, eq=False)
class DivergenceFunction:
    """A divergence of yours: ``fn(params, data)``, a scalar that is 0 at the anchor, traced by JAX.

    ``params`` maps the model's parameter names to arrays; ``data`` is any pytree of arrays (None: the domain's inputs
    [N, ...] in the dtype of the run). It is passed along, not compiled in. Make it once: equal only to itself.
    """

    fn: Callable[[Params, Any], Any]
    data: Any = None
    name: str = ""

    def __post_init__(self) -> None:
        if not callable(self.fn):
            raise TypeError(f"fn={self.fn!r} is not a function of (params, data).")

    @property
    def label(self) -> str:
        return self.name or getattr(self.fn, "__qualname__", type(self.fn).__name__)

    def describe(self) -> dict[str, Any]:
        """Return a JSON-able record: the function by its name, its data by their content."""
        leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(self.data)]
        return {"function": self.label, "data": [[leaf.dtype.name, list(leaf.shape), digest(leaf)] for leaf in leaves]}


@dataclass(frozen=True)
class BoundDivergence:
    """A divergence on one model: static under ``jax.jit``, its arrays passed along as ``data``.

    ``within``: a classifier of the query, to cut the region with the anchor's class; elsewhere D is infinite.
    """

    model: Model
    kind: str = "kl"  # one of DIVERGENCES, or "function"
    function: DivergenceFunction | None = None
    within: BoundClassifier | None = None

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return self.model.parameters

    @property
    def num_parameters(self) -> int:
        """P."""
        return sum(math.prod(p.shape) for p in self.parameters)

    @property
    def label(self) -> str:
        return self.kind if self.function is None else self.function.label

    def describe(self) -> dict[str, Any]:
        """Return a JSON-able record."""
        return {"divergence": self.label, "within_class": self.within is not None}

    # --- flat and named parameters ---

    def flatten(self, params: Params) -> Array:
        """Return parameters as one row [P], in the model's order."""
        return jnp.concatenate([jnp.ravel(params[p.name]) for p in self.parameters])

    def unflatten(self, theta: Array) -> dict[str, Array]:
        """Named parameters of a row [P]."""
        ends = np.cumsum([math.prod(p.shape) for p in self.parameters])[:-1]
        pieces = jnp.split(theta, ends)
        return {p.name: piece.reshape(p.shape) for p, piece in zip(self.parameters, pieces, strict=True)}

    # --- the divergence ---

    def data(self, anchor: Mapping[str, Any], inputs: np.ndarray) -> dict[str, Any]:
        """Return what ``of`` reads beside the parameters, made of the anchor and the inputs [N, ...] in their dtype."""
        cast = {name: np.asarray(value, inputs.dtype) for name, value in anchor.items()}
        data: dict[str, Any] = {"inputs": np.asarray(inputs)}
        if self.function is not None:
            function_data = self.function.data
            data["given"] = (
                data["inputs"]
                if function_data is None
                else jax.tree.map(lambda leaf: _cast(leaf, inputs.dtype), function_data)
            )
        if self.function is None or self.within is not None:
            outputs = jax.jit(self.model.apply)(cast, data["inputs"])
            if not np.isfinite(np.asarray(outputs)).all():
                raise ValueError(
                    "The anchor's outputs are not all finite on the domain, so nothing can be near it: check the "
                    "checkpoint, and the scale of the inputs."
                )
            data["outputs"] = outputs
        return data

    def of(self, params: Params, data: Mapping[str, Any]) -> Array:
        """Return D(anchor || params), a scalar; NaN where it is undefined."""
        if self.function is not None:
            value = jnp.asarray(self.function.fn(params, data["given"]))
            if self.within is None:
                return value
        outputs = self.model.apply(params, data["inputs"])  # [N, C]
        if self.function is None:
            value = _KINDS[self.kind](data["outputs"], outputs)
        if self.within is None:
            return value
        same = self._same_class(outputs, data["outputs"])
        return jnp.where(same | jnp.isnan(value), value, jnp.inf)

    def __call__(self, theta: Array, data: Mapping[str, Any]) -> Array:
        """Give D of a row [P]. Equal divergences are one static argument, as bound methods of equal ones are not."""
        return self.of(self.unflatten(theta), data)

    def worst(
        self, params: Mapping[str, Any], anchor: Mapping[str, Any], data: Mapping[str, Any], points: int = 1
    ) -> Array:
        """max of D over anchor + t (params - anchor), t = 1/points, 2/points, .., 1: the star-shaped score on a grid.

        ``points`` = 1 is the plain sublevel set. NaN at any point gives NaN.
        """
        if points == 1:
            return self.of(params, data)

        def at(t: Array) -> Array:
            return self.of({k: anchor[k] + t * (params[k] - anchor[k]) for k in params}, data)

        return jnp.max(jax.vmap(at)(jnp.arange(1, points + 1, dtype=data["inputs"].dtype) / points))

    @property
    def smooth(self) -> bool:
        """Whether D has no jumps: agreement has, and so has a region cut with a class."""
        return self.kind != "agreement" and self.within is None

    def curvature_product(self, theta: Array, data: Mapping[str, Any], v: Array) -> Array:
        """H v for rows ``theta``, ``v`` [P]. KL, also in place of agreement: the Gauss-Newton matrix J'(diag p - p p')J
        of the mean over inputs, which at the anchor is KL's Hessian, the Fisher information; else the Hessian of D."""
        if self.function is not None:
            fn, function_data = self.function.fn, data["given"]
            return jax.jvp(jax.grad(lambda x: fn(self.unflatten(x), function_data)), (theta,), (v,))[1]
        outputs, pushed = jax.jvp(lambda x: self._outputs(x, data), (theta,), (v,))
        p = jax.nn.softmax(_two(outputs))
        pushed = _two(pushed)
        # Not jnp.sum(p * pushed, axis=-1): compiled for many v at once on a CPU (jax 0.10.2) that sum is wrong.
        weighted = p * (pushed - jnp.einsum("nc,nc->n", p, pushed)[:, None]) / len(p)
        return self._pull(theta, data, weighted)

    def curvature_root(self, theta: Array, data: Mapping[str, Any], z: Array) -> Array:
        """Return a z [P] for z [N, C] (C = 2 for one output), A A' being the Gauss-Newton matrix of KL."""
        p = jax.nn.softmax(_two(self._outputs(theta, data)))
        root = jnp.sqrt(p)
        weighted = root * (z - root * jnp.einsum("nc,nc->n", root, z)[:, None]) / math.sqrt(len(p))
        return self._pull(theta, data, weighted)

    def _outputs(self, theta: Array, data: Mapping[str, Any]) -> Array:
        return self.model.apply(self.unflatten(theta), data["inputs"])

    def _pull(self, theta: Array, data: Mapping[str, Any], weighted: Array) -> Array:
        """J' of weights [N, C] on the outputs."""
        weighted = weighted[:, :1] if self.model.num_outputs == 1 else weighted
        return jax.vjp(lambda x: self._outputs(x, data), theta)[1](weighted)[0]

    def thresholds(self, cutoffs: Sequence[float] | np.ndarray, num_inputs: int) -> np.ndarray:
        """Return what D is compared with, D <= threshold: agreement counts inputs, so half an input more guards
        rounding."""
        values = np.asarray(cutoffs, float)
        if self.kind != "agreement":
            return values
        return (np.floor(values * num_inputs + 1e-6) + 0.5) / num_inputs

    def check(self, anchor: Mapping[str, Any], data: Mapping[str, Any], cutoffs: Sequence[float]) -> None:
        """ValueError unless D is a scalar that is 0 at the anchor; what a function returns is seen by a trace first."""
        if self.function is not None:
            try:
                shape = jax.eval_shape(self.function.fn, anchor, data["given"])
            except Exception as error:
                first = (str(error).strip().splitlines() or [""])[0]
                raise ValueError(
                    f"The divergence {self.label} failed on the anchor's parameters, with {type(error).__name__}: "
                    f"{first} It is called as fn(params, data), with params by name, and traced by JAX."
                ) from error
            if getattr(shape, "shape", None) != () or not jnp.issubdtype(shape.dtype, jnp.floating):
                raise ValueError(
                    f"The divergence {self.label} must return one floating-point number; it gives {shape}."
                )
        value = float(jax.jit(self.of)(dict(anchor), data))
        if not abs(value) <= AT_ANCHOR * min(cutoff for cutoff in (*cutoffs, math.inf) if cutoff > 0):
            raise ValueError(
                f"The anchor is not at zero divergence: {self.label} gives {value:.6g} there, and the least cutoff is "
                f"{min(cutoffs):g}. A divergence measures from the anchor: subtract its value at the anchor, or give "
                "the parameters it was measured from."
            )

    def _same_class(self, outputs: Array, anchor: Array) -> Array:
        """Whether outputs [N, C] are of the anchor's class; of truth tables, which nothing numbers: decided alike."""
        assert self.within is not None
        if self.model.num_outputs == 1:
            outputs, anchor = outputs[:, 0], anchor[:, 0]
        if self.within.num_classes is not None:
            return self.within.classify_outputs(outputs) == self.within.classify_outputs(anchor)
        if self.model.num_outputs == 1:
            return jnp.all((outputs > 0) == (anchor > 0))
        return jnp.all(jnp.argmax(outputs, axis=-1) == jnp.argmax(anchor, axis=-1))


def bind(model: Model, divergence: Any, within: BoundClassifier | None = None) -> BoundDivergence:
    """Return the divergence that a word or a `DivergenceFunction` stands for. ValueError or TypeError for anything
    else."""
    if within is not None and within.num_classes is not None and within.route == "table":
        raise ValueError(
            f"A region cannot be cut with the anchor's class of {within.classifier}, which is told from whole tables "
            "outside the compiled steps: ask for a class such as Fits, Ones or TruthTable, or leave within_class out."
        )
    if isinstance(divergence, str):
        check_choice("divergence", divergence, DIVERGENCES)
        return BoundDivergence(model, divergence, None, within)
    if isinstance(divergence, DivergenceFunction):
        return BoundDivergence(model, "function", divergence, within)
    raise TypeError(
        f"divergence={divergence!r} is neither {' nor '.join(map(repr, DIVERGENCES))}: wrap a function of your own, "
        "fn(params, data), as volume.DivergenceFunction(fn, data)."
    )


def _cast(leaf: Any, dtype: Any) -> Array:
    leaf = jnp.asarray(leaf)
    return leaf.astype(dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf


def _two(outputs: Array) -> Array:
    """Outputs [N, C] with C >= 2: sigmoid(f) is the softmax of (f, 0)."""
    return jnp.concatenate([outputs, jnp.zeros_like(outputs)], axis=-1) if outputs.shape[-1] == 1 else outputs


def _kl(anchor: Array, outputs: Array) -> Array:
    """Mean KL(p_anchor || p) over inputs, from outputs [N, C]."""
    # Classes first: sums over few classes are then sums of long rows, which is 2 to 3 times faster on a CPU.
    return _kl_of(_two(anchor).T, _two(outputs).T)


@jax.custom_jvp
def _kl_of(anchor: Array, outputs: Array) -> Array:
    """The same from outputs [C, N], C >= 2; the derivative is with respect to ``outputs`` alone.

    With d the differences of the outputs, centred so that their mean under p_anchor is 0, KL = log E exp(d): near 0 as
    log1p E(exp(d) - 1 - d), which keeps its digits where the logarithm of a sum of 1 has none left.
    """
    log_p, d, near = _centred(anchor, outputs)
    return jnp.mean(_kl_rows(log_p, d, near))


@_kl_of.defjvp
def _kl_slope(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    """The slope of KL(p || q) along the logarithms of q is q - p."""
    log_p, d, near = _centred(*primals)
    rows = _kl_rows(log_p, d, near)
    slope = jnp.exp(log_p + (d - rows)) - jnp.exp(log_p)
    return jnp.mean(rows), jnp.vdot(slope, tangents[1]) / len(rows)


def _centred(anchor: Array, outputs: Array) -> tuple[Array, Array, Array]:
    """log p of the anchor [C, N], d [C, N], and where all of an input's d are small [N]."""
    log_p = jax.nn.log_softmax(anchor, axis=0)
    d = outputs - anchor
    # Not jnp.sum(p * d, axis=0): compiled for 4 to 8 networks at once on a CPU (jax 0.10.2, 1,024 inputs) it is wrong.
    d = d - _mean_under(log_p, d)
    return log_p, d, jnp.max(jnp.abs(d), axis=0) < NEAR


def _mean_under(log_p: Array, values: Array) -> Array:
    """Means [N] of values [C, N] under p."""
    return jnp.einsum("cn,cn->n", jnp.exp(log_p), values)


def _kl_rows(log_p: Array, d: Array, near: Array) -> Array:
    """KL by input [N]."""
    small = jnp.where(near, d, 0)
    # exp(d) - 1 - d = d^2 (1/2! + d/3! + d^2/4! + ...): within 1e-12 of itself below NEAR.
    series = jnp.full_like(small, 1 / math.factorial(TERMS))
    for k in range(TERMS - 1, 1, -1):
        series = 1 / math.factorial(k) + small * series
    above = _mean_under(log_p, small**2 * series)
    tilted = log_p + d
    top = jax.lax.stop_gradient(jnp.max(tilted, axis=0))
    total = jnp.sum(jnp.exp(tilted - top), axis=0)
    return jnp.where(near, jnp.log1p(above), top + jnp.log(total))


def _agreement(anchor: Array, outputs: Array) -> Array:
    """Share of the inputs decided otherwise; NaN where an output is NaN."""
    if anchor.shape[-1] == 1:
        other = (anchor > 0) != (outputs > 0)
    else:
        other = jnp.argmax(anchor, axis=-1) != jnp.argmax(outputs, axis=-1)
    share = jnp.mean(jnp.any(other, axis=-1) if other.ndim > 1 else other, dtype=outputs.dtype)
    return jnp.where(jnp.any(jnp.isnan(outputs)), jnp.nan, share)


_KINDS: dict[str, Callable[[Array, Array], Array]] = {"kl": _kl, "agreement": _agreement}
