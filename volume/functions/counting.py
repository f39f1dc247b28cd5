"""How many functions there are: the numbers behind the counting argument.

On N inputs a network with C outputs computes one of C^N functions (2^N for one output, as for two). With m labels fixed
C^(N - m) of them are left, a fraction C^-m. Among the functions that fit, the share that is right on at least k of M
other inputs is P(Binomial(M, 1/C) >= k): a function drawn blindly is right on each with probability 1/C, whatever the
target. These numbers involve no network and no prior.

Only the standard library is used: ``volume count`` answers before JAX or NumPy is imported.
"""

from __future__ import annotations

import decimal
import math
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from volume.common.logs import LN10, linear, share_text

MAX_SIZE = 10**300  # of N and C: beyond, log10 of a count is no float any more
MAX_EXACT_DIGITS = 1000  # counts of up to so many digits are given as whole numbers too
MAX_FREE = 10**12  # inputs of a tail: a sum over some 10 sqrt(M) terms

_PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494459")
# Stirling's series, B_2i / (2i (2i - 1) n^(2i - 1)) (Abramowitz and Stegun 1964, 6.1.40). From n = 1000 on the first
# term left out is below 1e-24.
_STIRLING = [(1, 12), (-1, 360), (1, 1260)]
_STIRLING_FROM = 1000


@dataclass(frozen=True)
class FunctionCount:
    """base^exponent, a number of functions, held as its two parts: the digits of 19,999^(10^8) fill a hard disk."""

    base: int
    exponent: int

    @property
    def log(self) -> float:
        """Natural logarithm."""
        return self.exponent * math.log(self.base)

    @property
    def log10(self) -> float:
        """Decimal logarithm. Its fraction has lost the leading digits of a large count: see `scientific`."""
        return self.exponent * math.log10(self.base)

    @property
    def exact(self) -> int | None:
        """The number itself, when it has at most 1,000 digits."""
        return self.base**self.exponent if self.log10 < MAX_EXACT_DIGITS else None

    def parts(self, digits: int = 5) -> tuple[Decimal, int]:
        """(mantissa, exponent of ten) with 1 <= mantissa < 10 rounded to ``digits`` significant digits, all right.

        The logarithm is taken with as many decimals as the answer needs and 30 more, which a power's mantissa would
        have to lie within 1e-30 of a rounding boundary to defeat. ValueError unless digits is in 1..100.
        """
        if not 1 <= _whole("digits", digits) <= 100:
            raise ValueError(f"digits is {digits}; give 1 to 100 significant digits.")
        exact = self.exact
        with decimal.localcontext() as context:
            context.prec = digits + 30 + len(str(self.exponent)) + len(str(self.base))
            context.Emax, context.Emin = decimal.MAX_EMAX, decimal.MIN_EMIN
            if exact is not None:
                context.prec += MAX_EXACT_DIGITS
                power = len(str(exact)) - 1
                mantissa = Decimal(exact).scaleb(-power)
            else:
                log10 = self.exponent * Decimal(self.base).log10()
                power = int(log10.to_integral_value(decimal.ROUND_FLOOR))
                mantissa = Decimal(10) ** (log10 - power)
            mantissa = mantissa.quantize(Decimal(1).scaleb(1 - digits))
            if mantissa >= 10:  # 9.9999996 has been rounded up
                mantissa, power = (mantissa / 10).quantize(Decimal(1).scaleb(1 - digits)), power + 1
        return mantissa, power

    def scientific(self, digits: int = 5) -> str:
        """For example "1.0957e430100828"; all ``digits`` are right."""
        mantissa, power = self.parts(digits)
        return f"{mantissa}e{power}"

    def to_dict(self, digits: int = 5) -> dict[str, Any]:
        """Return a JSON-able record; "exact" is a string of digits, or None when there are more than 1,000 of them."""
        mantissa, power = self.parts(digits)
        return {
            "base": self.base,
            "exponent": self.exponent,
            "scientific": f"{mantissa}e{power}",
            "mantissa": float(mantissa),
            "power_of_ten": power,
            "log10": self.log10,
            "exact": None if self.exact is None else str(self.exact),
        }

    def __str__(self) -> str:
        return f"{self.exact:,}" if self.log10 < 15 else self.scientific()


def count_functions(num_inputs: int, num_outputs: int = 1, *, fixed: int = 0) -> FunctionCount:
    """Return the number of functions of ``num_inputs`` inputs that agree with ``fixed`` given labels: C^(N - fixed).

    Args:
        num_inputs: N, the rows of the table.
        num_outputs: C, as a model has them: one output decides between two classes, as two do.
        fixed: how many inputs have their label given.

    Raises:
        TypeError: anything but whole numbers.
        ValueError: N or C below 1 or above 1e300, ``fixed`` outside 0..N.
    """
    inputs, classes = _size("num_inputs", num_inputs), _num_classes(num_outputs)
    fixed = _whole("fixed", fixed)
    if not 0 <= fixed <= inputs:
        raise ValueError(f"fixed is {fixed}; give how many of the {inputs} inputs have their label given.")
    return FunctionCount(classes, inputs - fixed)


def log_fraction_fitting(fixed: int, num_outputs: int = 1) -> float:
    """Return the log of the fraction of all functions that agree with ``fixed`` given labels, C^-fixed.

    TypeError or ValueError unless both are whole numbers, fixed >= 0 and C >= 1.
    """
    if _whole("fixed", fixed) < 0:
        raise ValueError(f"fixed is {fixed}; give how many labels are given, 0 or more.")
    return -FunctionCount(_num_classes(num_outputs), fixed).log + 0.0  # 0, not -0


def log_share_right(num_free: int, at_least: int, num_outputs: int = 1) -> float:
    """Return the log of the share of functions that are right on ``at_least`` of ``num_free`` inputs whose label is not
    fixed.

    P(Binomial(M, 1/C) >= k), M = num_free, k = at_least: the first term from log-factorials of 23 decimals, the
    others by their ratios, so that the relative error is 1e-11 or less however rare the event.

    Raises:
        TypeError: anything but whole numbers.
        ValueError: M outside 1..1e12, k outside 0..M, C below 1.
    """
    m, k, classes = _whole("num_free", num_free), _whole("at_least", at_least), _num_classes(num_outputs)
    if not 1 <= m <= MAX_FREE:
        raise ValueError(f"num_free is {m}; give 1 to {MAX_FREE:,} inputs.")
    if not 0 <= k <= m:
        raise ValueError(f"at_least is {k}; give how many of the {m} free inputs must be right, 0 to {m}.")
    if k == 0:
        return 0.0
    # Successive terms have ratios (m - j) / ((j + 1)(C - 1)): they fall on the far side of the mean m / C from both.
    if k * classes > m:
        term, total, j = 1.0, 1.0, k
        while j < m and term > 1e-18 * total:
            term *= (m - j) / ((j + 1) * (classes - 1))
            total, j = total + term, j + 1
        return _log_binomial(m, k, classes) + math.log(total)
    term, total, j = 1.0, 1.0, k - 1
    while j > 0 and term > 1e-18 * total:
        term *= j * (classes - 1) / (m - j + 1)
        total, j = total + term, j - 1
    return math.log1p(-math.exp(_log_binomial(m, k - 1, classes)) * total) + 0.0  # 0, not -0


@dataclass(frozen=True)
class Counting:
    """Everything ``volume count`` prints for one table size, checked at once; arguments as above."""

    num_inputs: int
    num_outputs: int = 1
    fixed: int = 0
    at_least: int | None = None  # of the other inputs; None: not asked
    digits: int = 5

    def __post_init__(self) -> None:
        for number in (self.functions, self.fitting):
            number.parts(self.digits)
        if self.at_least is not None:
            if self.num_free == 0:
                raise ValueError("at_least asks about inputs whose label is not fixed; all of them are: leave it out.")
            log_share_right(self.num_free, self.at_least, self.num_outputs)

    @property
    def functions(self) -> FunctionCount:
        """All functions."""
        return count_functions(self.num_inputs, self.num_outputs)

    @property
    def fitting(self) -> FunctionCount:
        """Those that agree with the fixed labels."""
        return count_functions(self.num_inputs, self.num_outputs, fixed=self.fixed)

    @property
    def num_free(self) -> int:
        """Inputs whose label is not fixed."""
        return self.num_inputs - self.fixed

    @property
    def log_fraction(self) -> float:
        """The log of `fitting` over `functions`."""
        return log_fraction_fitting(self.fixed, self.num_outputs)

    @property
    def log_share(self) -> float | None:
        """The log of the share of `fitting` that is right on at least so many free inputs; None if not asked."""
        return None if self.at_least is None else log_share_right(self.num_free, self.at_least, self.num_outputs)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able record. Shares as every result gives one: logs always, the number itself where it is
        1e-300 or more."""
        record: dict[str, Any] = {
            "num_inputs": self.num_inputs,
            "num_outputs": self.num_outputs,
            "fixed": self.fixed,
            "functions": self.functions.to_dict(self.digits),
            "fitting": self.fitting.to_dict(self.digits),
            "fraction_fitting": _share(self.log_fraction),
        }
        if self.log_share is not None:
            record |= {"num_free": self.num_free, "at_least": self.at_least, "share_right": _share(self.log_share)}
        return record

    def summary(self) -> str:
        """Return the same as text."""
        rows = [("functions", self._text(self.functions))]
        if self.fixed:
            rows.append((f"that agree with {self.fixed:,} fixed labels", self._text(self.fitting)))
            rows.append(("as a fraction of all", share_text(self.log_fraction)))
        if self.log_share is not None:
            of = "of those" if self.fixed else "of them"
            words = f"{of}, right on {self.at_least:,} or more of {self.num_free:,} free inputs"
            rows.append((words, share_text(self.log_share)))
        width = max(len(name) for name, _ in rows)
        return "\n".join(f"{name:<{width}}  {text}" for name, text in rows)

    def _text(self, number: FunctionCount) -> str:
        short = f"{number.base:,}^{number.exponent:,}"
        return f"{number.scientific(self.digits)} = {short}"


def _share(log_share: float) -> dict[str, Any]:
    return {"log": log_share, "log10": log_share / LN10, "value": linear(log_share)}


def _log_binomial(m: int, k: int, classes: int) -> float:
    """log P(Binomial(m, 1/C) = k). The parts are of size m log m and cancel: hence decimals, with 70 digits."""
    with decimal.localcontext() as context:
        context.prec = 70 + len(str(classes))
        ways = _log_factorial(m) - _log_factorial(k) - _log_factorial(m - k)
        return float(ways + (m - k) * Decimal(classes - 1).ln() - m * Decimal(classes).ln())


def _log_factorial(n: int) -> Decimal:
    if n < _STIRLING_FROM:
        return Decimal(math.factorial(n)).ln()
    x = Decimal(n)
    series = sum(Decimal(a) / b / x ** (2 * i + 1) for i, (a, b) in enumerate(_STIRLING))
    return x * x.ln() - x + (2 * _PI * x).ln() / 2 + series


def _whole(name: str, value: Any) -> int:
    index = getattr(value, "__index__", None)
    if index is None or isinstance(value, bool):
        raise TypeError(f"{name} is {value!r}; give a whole number.")
    return index()


def _size(name: str, number: Any) -> int:
    value = _whole(name, number)
    if not 1 <= value <= MAX_SIZE:
        raise ValueError(f"{name} is {value if value < 1 else 'above 1e300'}; give a whole number from 1 to 1e300.")
    return value


def _num_classes(num_outputs: Any) -> int:
    return max(2, _size("num_outputs", num_outputs))
