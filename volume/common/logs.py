"""Natural logarithms of volumes, written down: as JSON numbers and as text that also holds 1e-1000."""

from __future__ import annotations

import math

LN10 = math.log(10)
# Linear volumes below this are left out of records: near the smallest double they would lose digits without a word.
SMALLEST_LINEAR = 1e-300


def finite(value: float) -> float | None:
    """Return the number, or None where JSON has no number for it."""
    return float(value) if math.isfinite(value) else None


def linear(log_value: float) -> float | None:
    """exp of a logarithm for a record: 0 for -inf, None where the result would be below 1e-300 or is undefined."""
    if log_value == -math.inf:
        return 0.0
    value = math.exp(log_value) if log_value < 700 else math.inf
    return value if SMALLEST_LINEAR <= value < math.inf else None


def logarithm(stored: float | None, linear: float | None) -> float:
    """Return a logarithm that a record holds beside its exponential: None is -inf where that is 0, else undefined
    (nan)."""
    if stored is not None:
        return stored
    return -math.inf if linear == 0 else math.nan


def volume_text(log_value: float, digits: int = 4) -> str:
    """Return a volume to so many digits from its logarithm: 0.08333, 3.210e-1000, 0."""
    if log_value == -math.inf:
        return "0"
    if log_value > math.log(1e-3):
        return f"{math.exp(log_value):#.{digits}g}"
    exponent = math.floor(log_value / LN10)
    mantissa = f"{math.exp(log_value - exponent * LN10):.{digits - 1}f}"
    if mantissa.startswith("10"):  # 9.9996 to four digits
        mantissa, exponent = f"{1:.{digits - 1}f}", exponent + 1
    return f"{mantissa}e{exponent:+03d}"


def share_text(log_share: float, digits: int = 3) -> str:
    """Return a share to so many digits from its logarithm: 0.910, 4.51e-12, or 10^-4266.60 where a float would
    underflow."""
    if -math.inf < log_share < -300 * LN10:
        return f"10^{log_share / LN10:.{digits - 1}f}"
    near_one = -0.015 < log_share < -5e-5  # 0.9987 rather than 1.0
    return f"{math.exp(log_share):.4f}" if near_one else volume_text(log_share, digits)


def interval_text(log_low: float, log_high: float, digits: int = 4) -> str:
    """Two ends of an interval of volumes from their logarithms: 0.08012 - 0.08655."""
    return f"{volume_text(log_low, digits)} - {volume_text(log_high, digits)}"


def interval_name(level: float) -> str:
    """Return what an interval of this level is called, in a heading and in a sentence: 95% interval."""
    return f"{100 * level:g}% interval"


def power_text(log_value: float) -> str:
    """Return a number of any size to two digits from its natural logarithm, with thousands below 1e6: 4,096,
    3.4e+38."""
    log10 = log_value / LN10
    if 0 <= log10 < 6:
        return f"{math.exp(log_value):,.0f}"
    exponent = math.floor(log10)
    return f"{10 ** (log10 - exponent):.1f}e{exponent:+03d}"
