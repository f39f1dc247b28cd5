"""What the priors share that draw every entry of every parameter on its own."""

from __future__ import annotations

from typing import Any, ClassVar

from jax import Array

from volume.models import Parameter, Params

from .prior import (
    PushForward,
    at_layer,
    check_length,
    checked_setting,
    describe_setting,
    fan_scale,
)


class Independent(PushForward):
    """theta = size * unit(z), entry by entry, plus 1 for scales; sizes of weights are divided by sqrt(fan_in).

    A subclass is a frozen dataclass with the fields ``weight_*``, ``bias_*`` and ``scale_*`` named after ``size_name``.
    """

    size_name: ClassVar[str]

    @staticmethod
    def unit(z: Array) -> Array:
        """The law at size 1, as an odd function of a standard normal."""
        raise NotImplementedError

    def __post_init__(self):
        for name in self._fields():
            object.__setattr__(self, name, checked_setting(name, getattr(self, name)))
        weight, bias, _ = self._fields()
        if not any(any(_values(getattr(self, name))) for name in (weight, bias)):
            raise ValueError(
                f"{weight} and {bias} are both 0, so every draw would be the same network; give one a value > 0."
            )

    def transform(self, z: Params, parameters: tuple[Parameter, ...]) -> Params:
        """Parameters made of standard normals ``z``, each tensor on its own."""
        return {p.name: self._size(p) * self.unit(z[p.name]) + (1.0 if p.kind == "scale" else 0.0) for p in parameters}

    def check(self, parameters: tuple[Parameter, ...]) -> None:
        """ValueError for a tuple that does not fit the layers, or when no parameter of this model would vary."""
        for name in self._fields():
            check_length(name, getattr(self, name), parameters)
        if not any(self._size(p) > 0 for p in parameters):
            kinds = ", ".join(sorted({p.kind for p in parameters})) or "none"
            raise ValueError(
                f"Under {self} every draw is the same network: the model's parameters (kinds: {kinds}) all have "
                "size 0; give one of these kinds a value > 0."
            )

    def describe(self) -> dict[str, Any]:
        """{"name", and the three settings: a number, or a list with one number per layer}."""
        settings = {name: describe_setting(getattr(self, name)) for name in self._fields()}
        return {"name": type(self).__name__.lower(), **settings}

    def _fields(self) -> tuple[str, str, str]:
        return f"weight_{self.size_name}", f"bias_{self.size_name}", f"scale_{self.size_name}"

    def _size(self, parameter: Parameter) -> float:
        size = at_layer(getattr(self, f"{parameter.kind}_{self.size_name}"), parameter.layer)
        return fan_scale(size, parameter.fan_in) if parameter.kind == "weight" else size


def _values(setting: float | tuple[float, ...]) -> tuple[float, ...]:
    return setting if isinstance(setting, tuple) else (setting,)
