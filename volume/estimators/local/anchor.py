"""The trained network that a local volume is around: its parameters, from memory or from a checkpoint.

Files: NumPy's ``.npz`` (an array per parameter), Flax's ``.msgpack`` (``flax.serialization.to_bytes``), and folders
written by Orbax. Names are those of the model's parameters, nested or joined by dots. A checkpoint of other names fits
when its tensors, module after module in natural order, have the model's shapes: a Flax stack of dense layers is an MLP.

Shape letter: P parameters (all numbers of a network in one row).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from volume.common.array_files import MAX_BYTES, as_numbers, checked_size, read_npz
from volume.common.content import ByContent, digest, frozen
from volume.errors import unknown
from volume.models import Model, flat_names

WEIGHTS = ("weight", "kernel", "embedding", "w")


@dataclass(frozen=True, eq=False)
class Anchor(ByContent):
    """Named parameters, equal and hashed by content; make it with :meth:`of`."""

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    values: np.ndarray  # all numbers in one row, float64, in the order of the names

    @classmethod
    def of(cls, params: Any, what: str = "anchor") -> Anchor:
        """From a mapping of parameters, nested or flat, a file, or an `Anchor`; ``what`` it is, for errors.

        Raises:
            FileNotFoundError: there is no such file.
            TypeError, ValueError: neither of these, an array that holds no numbers, NaN or inf.
        """
        if isinstance(params, Anchor):
            return params
        where = f"the {what}"
        if isinstance(params, (str, Path)):
            where, params = str(params), read(Path(params))
        if not isinstance(params, Mapping):
            raise TypeError(
                f"{what}={params!r} holds no parameters: give a dictionary of arrays by name, or a checkpoint (.npz, "
                ".msgpack, an Orbax folder)."
            )
        try:
            flat = _stripped(flat_names(params))
        except RecursionError:
            raise ValueError(f"The names in {where} are nested too deeply for parameters.") from None
        arrays = {name: _finite(value, f"{name!r} of {where}") for name, value in flat.items()}
        if not arrays:
            raise ValueError(f"There are no parameters in {where}.")
        row = np.concatenate([np.ravel(array) for array in arrays.values()])
        return cls(tuple(arrays), tuple(a.shape for a in arrays.values()), frozen(row, np.float64))

    @property
    def params(self) -> dict[str, np.ndarray]:
        """Arrays by name."""
        return by_name(self.values, dict(zip(self.names, self.shapes, strict=True)))

    def on(self, model: Model, what: str = "anchor") -> dict[str, np.ndarray]:
        """The parameters under the model's own names. ValueError where they do not fit, naming one that does not and
        ``what`` has it."""
        own, arrays = {p.name: p.shape for p in model.parameters}, self.params
        if set(own) == set(arrays):
            ordered = list(own)
        else:
            self._check_layout(own, what)
            ordered = sorted(arrays, key=_natural)
            mine = sorted(own, key=_natural)
            if [own[name] for name in mine] != [arrays[name].shape for name in ordered]:
                missing = next((name for name in own if name not in arrays), None)
                if missing is None:
                    extra = next(name for name in arrays if name not in own)
                    raise ValueError(f"The {what} has a parameter {extra!r} that the model lacks: {_shapes(own)}.")
                raise ValueError(
                    f"The {what} has no {missing!r}. {unknown('parameter', missing, arrays)} The model's are "
                    f"{_shapes(own)}; the {what}'s {_shapes({n: a.shape for n, a in arrays.items()})}."
                )
            arrays = dict(zip(mine, (arrays[name] for name in ordered), strict=True))
        for name, shape in own.items():
            if arrays[name].shape != shape:
                raise ValueError(f"{name!r} has the shape {shape} in the model and {arrays[name].shape} in the {what}.")
        return {name: arrays[name] for name in own}

    def _check_layout(self, own: Mapping[str, Any], what: str) -> None:
        """Raise ValueError for matrices that by their names are [out, in]: taken as they are, they are another network.

        PyTorch and Equinox call a matrix ``weight`` and keep it as [out, in]; Flax calls it ``kernel``, [in, out] as
        here. A ``weight`` that is the model's own name is the model's, and says nothing of the others.
        """
        last = {name: name.rpartition(".")[2] for name in self.params}
        foreign = (name for name, word in last.items() if word == "weight" and name not in own)
        matrix = next((name for name in foreign if self.params[name].ndim == 2), None)
        if matrix is not None and "kernel" not in last.values():
            raise ValueError(
                f"The {what} has {matrix!r}, a name of PyTorch or Equinox, whose matrices are [out, in]; the model's "
                f"are [in, out]. Transpose them and give all parameters the model's names: {_shapes(own)}."
            )

    def describe(self) -> dict[str, Any]:
        """A JSON-able record: no array, but what tells two anchors apart."""
        return {
            "parameters": len(self.values),
            "norm": float(np.linalg.norm(self.values)),
            "sha256": digest(self.values),
        }

    def __repr__(self) -> str:
        return f"Anchor({len(self.values):,} parameters)"


def row_of(params: Mapping[str, np.ndarray]) -> np.ndarray:
    """Join parameters into one row [P], in their order."""
    return np.concatenate([np.ravel(value) for value in params.values()])


def by_name(row: np.ndarray, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Cut a row [P] into arrays of these shapes."""
    pieces = np.split(row, np.cumsum([math.prod(shape) for shape in shapes.values()])[:-1])
    return {name: piece.reshape(shape) for (name, shape), piece in zip(shapes.items(), pieces, strict=True)}


def _finite(value: Any, what: str) -> np.ndarray:
    """A parameter in float64. ValueError where it is no array of finite numbers."""
    try:
        array = as_numbers(np.asarray(value))
        if array.dtype.kind in "biufV" and np.isfinite(numbers := array.astype(np.float64)).all():
            return numbers
    except (ValueError, TypeError):  # rows of different lengths, and bytes that are no number
        pass
    raise ValueError(f"{what} is no array of finite numbers: leave out what is no parameter.")


def read(path: Path) -> Mapping[str, Any]:
    """The parameters of a checkpoint, as a nested or flat mapping. FileNotFoundError, ValueError, ImportError."""
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such checkpoint.")
    checked_size(path)
    if path.is_dir():
        try:
            import orbax.checkpoint as orbax
        except ImportError as error:
            raise ImportError(
                f"{path} is a folder, which takes Orbax to read: pip install orbax-checkpoint."
            ) from error
        try:
            with orbax.PyTreeCheckpointer() as checkpointer:
                _check_unpacked(checkpointer.metadata(path.resolve()))
                return _tree(checkpointer.restore(path.resolve()))
        except Exception as error:  # of Orbax, TensorStore and their readers of JSON, about damage of every kind
            first = (str(error).strip().splitlines() or [""])[0]
            raise ValueError(f"{path} is a folder but no checkpoint that Orbax reads: {first}") from error
    if path.suffix == ".npz":
        return {name.replace("/", "."): array for name, array in read_npz(path).items()}
    if path.suffix in (".msgpack", ".flax"):
        from flax import serialization

        try:
            return _tree(serialization.msgpack_restore(path.read_bytes()))
        except Exception as error:
            raise ValueError(f"{path} is no Flax checkpoint (flax.serialization.to_bytes): {error}") from error
    raise ValueError(f"{path} is no checkpoint: give a .npz, a .msgpack of flax.serialization, or an Orbax folder.")


def _check_unpacked(metadata: Any) -> None:
    """Raise ValueError where an Orbax checkpoint says that its arrays take more memory than is read of any file."""
    import jax

    leaves = jax.tree.leaves(getattr(metadata, "item_metadata", metadata), is_leaf=lambda leaf: hasattr(leaf, "shape"))
    size = sum(math.prod(leaf.shape or ()) * np.dtype(leaf.dtype).itemsize for leaf in leaves if hasattr(leaf, "shape"))
    if size > MAX_BYTES:
        raise ValueError(f"it unpacks to {size:,} bytes, more than the {MAX_BYTES:,} that are read")


def second_moments(params: Any) -> Anchor:
    """The running means of squared gradients that Optax's Adam keeps (``nu``), of a training state: of its file, or of
    a nested mapping. Up to a factor they are a curvature: the diagonal of the empirical Fisher matrix.

    Raises:
        ValueError: there are none, or those of several optimisers.
    """
    tree = read(Path(params)) if isinstance(params, (str, Path)) else params
    moments: dict[str, dict[str, Any]] = {}
    for name, value in (flat_names(_tree(tree)) if isinstance(tree, Mapping) else {}).items():
        inside = re.fullmatch(r"(|.*?\.)nu\.(.+)", name.replace("/", "."))
        if inside:
            moments.setdefault(inside[1], {})[inside[2]] = value
    if len(moments) != 1:
        what = "holds none" if not moments else f"holds several ({', '.join(f'{where}nu' for where in moments)})"
        raise ValueError(
            "preconditioner='adam' takes second moments (nu) from an Optax state that stands beside the anchor's "
            f"parameters, and the anchor {what}: give the training state (params and opt_state), or "
            "preconditioner={parameter: curvature}."
        )
    return Anchor.of(next(iter(moments.values())), "second moments of the anchor")


def _tree(node: Any) -> Any:
    """Lists as mappings by position and named tuples by name, so that paths name their leaves."""
    if hasattr(node, "_asdict"):
        node = node._asdict()
    if isinstance(node, Mapping):
        return {str(key): _tree(value) for key, value in node.items()}
    if isinstance(node, (list, tuple)):
        return {str(position): _tree(value) for position, value in enumerate(node)}
    return node


def _stripped(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Without what training states wrap around parameters: "params." before names, ".value" behind, and the rest."""
    if any(re.match(r"params(\.|/)", name) for name in flat):
        flat = {name: value for name, value in flat.items() if re.match(r"params(\.|/)", name)}
    while flat and all(re.match(r"params(\.|/)", name) for name in flat):  # a variable dict inside a train state
        flat = {name[7:]: value for name, value in flat.items()}
    return {re.sub(r"\.(value|raw_value)$", "", name).replace("/", "."): value for name, value in flat.items()}


def _natural(name: str) -> tuple[Any, ...]:
    """Order by module, numbers as numbers; in a module weights first."""
    module, _, last = name.rpartition(".")
    numbered = [(int(digits or -1), letters) for letters, digits in re.findall(r"(\D*)(\d*)", module)]
    return numbered, 0 if last in WEIGHTS else 1, last


def _shapes(shapes: Mapping[str, tuple[int, ...]]) -> str:
    shown = [f"{name} {shape}" for name, shape in shapes.items()]
    return ", ".join(shown[:8]) + (f" and {len(shown) - 8} more" if len(shown) > 8 else "")
