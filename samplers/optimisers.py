"""Optimisers by name: how training moves parameters, as a value that can be compared, hashed and recorded.

Every name is a function of optax; nothing here restates an update rule. optax loads when an optimiser is used.
"""

from __future__ import annotations

import inspect
import math
import numbers
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from volume.common import choices
from volume.common.choices import SCHEDULES
from volume.errors import unknown

if TYPE_CHECKING:
    import optax

# Name -> (function of optax, what we set in it). Left out: those that need the loss itself (lbfgs, polyak_sgd) and
# those with noise of their own (noisy_sgd), which all networks of a batch would share.
_SET: dict[str, tuple[str, dict[str, Any]]] = {
    "momentum": ("sgd", {"momentum": 0.9}),
    "nesterov": ("sgd", {"momentum": 0.9, "nesterov": True}),
    "sign": ("sign_sgd", {}),
}
OPTIMISERS = {name: _SET.get(name, (name, {})) for name in choices.OPTIMISERS}
WARMUP = 0.05  # share of the steps in which "warmup-cosine" rises from 0
FLOOR = 0.01  # share of the learning rate that "exponential" has come down to in the last step


@dataclass(frozen=True, init=False)
class Optimiser:
    """An optimiser of optax with its settings.

    Args:
        name: one of `OPTIMISERS`. "momentum" and "nesterov" are sgd with momentum .9, "sign" is sign_sgd.
        learning_rate: a number > 0, the first or, with a warm-up, the largest one.
        schedule: one of `SCHEDULES`, over the most steps that a network may take: "constant", "linear" to 0, "cosine"
            to 0, "warmup-cosine" (a twentieth of the steps up, then cosine to 0), "exponential" to a hundredth.
        options: further arguments of the optax function, such as ``{"weight_decay": 1e-2}`` for "adamw".

    Raises:
        ValueError: an unknown name, schedule or option (with the nearest known one), a learning rate that is not > 0.
        TypeError: an option whose value is not a number, a string, a bool or None.
    """

    name: str
    learning_rate: float
    schedule: str
    options: tuple[tuple[str, Any], ...]  # sorted by name

    def __init__(
        self,
        name: str = "sgd",
        learning_rate: float = 0.1,
        *,
        schedule: str = "constant",
        options: Mapping[str, Any] | tuple[tuple[str, Any], ...] = (),
    ):
        if name not in OPTIMISERS:
            raise ValueError(unknown("optimiser", name, OPTIMISERS))
        if schedule not in SCHEDULES:
            raise ValueError(unknown("schedule", schedule, SCHEDULES))
        number = isinstance(learning_rate, numbers.Real) and not isinstance(learning_rate, bool)
        if not number or not 0 < float(learning_rate) < math.inf:
            raise ValueError(f"learning_rate={learning_rate!r} is not a number above 0: give for example 0.1.")
        chosen = dict(options)
        for option, value in chosen.items():
            if not (value is None or isinstance(value, (bool, int, float, str))):
                raise TypeError(
                    f"The option {option}={value!r} of {name!r} is a {type(value).__name__}: give a number, a string, "
                    "True, False or None."
                )
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "learning_rate", float(learning_rate))
        object.__setattr__(self, "schedule", schedule)
        object.__setattr__(self, "options", tuple(sorted(chosen.items())))
        known = [argument for argument in inspect.signature(self._function()).parameters if argument != "learning_rate"]
        for option in chosen:
            if option not in known:
                raise ValueError(unknown(f"option of the optimiser {name!r}", option, known))
        self._check_options(chosen)

    def _check_options(self, options: Mapping[str, Any]) -> None:
        """ValueError for a value that optax cannot use, which it would say only while a step is traced."""
        if not options:
            return
        import jax

        defaults = inspect.signature(self._function()).parameters
        for option, value in options.items():
            default = defaults[option].default
            if isinstance(default, bool):
                wanted, right = "True or False", isinstance(value, bool)
            else:
                wanted = "a number" if isinstance(default, (int, float)) else ""
                right = isinstance(value, (int, float)) and not isinstance(value, bool)
            if wanted and not right:
                raise ValueError(f"The option {option}={value!r} of {self.name!r} is not {wanted}.")
        leaf = jax.ShapeDtypeStruct((2, 2), "float32")
        try:
            rule = self.transformation(2)
            jax.eval_shape(lambda params: rule.update(params, rule.init(params), params), {"weight": leaf})
        except Exception as error:  # whatever optax says of an odd value
            raise ValueError(
                f"optax.{OPTIMISERS[self.name][0]} cannot use {', '.join(f'{k}={v!r}' for k, v in options.items())}: "
                f"{str(error).strip().splitlines()[0]}"
            ) from None

    def check(self, num_steps: int) -> None:
        """ValueError where the schedule does not fit into so many steps."""
        if self.schedule == "warmup-cosine" and num_steps < 2:
            raise ValueError(
                f"schedule='warmup-cosine' rises and falls in 2 steps or more, and max_steps={num_steps}: give more "
                "steps, or schedule='constant'."
            )

    def transformation(self, num_steps: int) -> optax.GradientTransformation:
        """Return the optax transformation; schedules reach their end after ``num_steps`` steps."""
        _, preset = OPTIMISERS[self.name]
        return self._function()(self._rate(num_steps), **{**preset, **dict(self.options)})

    def describe(self) -> dict[str, Any]:
        """Return a JSON-able record."""
        _, preset = OPTIMISERS[self.name]
        options = {**preset, **dict(self.options)}
        return {
            "name": self.name,
            "learning_rate": self.learning_rate,
            "schedule": self.schedule,
            "options": options,
        }

    def _function(self) -> Any:
        import optax

        return getattr(optax, OPTIMISERS[self.name][0])

    def _rate(self, num_steps: int) -> Any:
        import optax

        rate = self.learning_rate
        if self.schedule == "linear":
            return optax.linear_schedule(rate, 0.0, num_steps)
        if self.schedule == "cosine":
            return optax.cosine_decay_schedule(rate, num_steps)
        if self.schedule == "warmup-cosine":
            return optax.warmup_cosine_decay_schedule(0.0, rate, max(1, round(WARMUP * num_steps)), num_steps)
        if self.schedule == "exponential":
            return optax.exponential_decay(rate, num_steps, FLOOR)
        return rate
