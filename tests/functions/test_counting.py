"""Counts against whole-number arithmetic, the figures of the 4-digit addition task, and tails summed exactly."""

import itertools
import json
import math
import subprocess
import sys
from decimal import Decimal, localcontext

import pytest
from checkout import ROOT
from scipy import stats

from volume.__main__ import main
from volume.common.logs import share_text
from volume.functions.counting import Counting, FunctionCount, count_functions, log_fraction_fitting, log_share_right

ADDITION = {"num_inputs": 10**8, "num_outputs": 19_999}


def test_four_digit_addition():
    assert count_functions(**ADDITION).scientific() == "1.0957e430100828"
    assert count_functions(**ADDITION, fixed=992).scientific() == "2.7510e430096561"
    assert share_text(log_fraction_fitting(992, 19_999)) == "10^-4266.60"
    assert count_functions(**ADDITION).exact is None
    assert count_functions(**ADDITION).log10 == pytest.approx(430_100_828.0397, abs=1e-3)


@pytest.mark.parametrize("digits", [1, 2, 5, 17, 40])
def test_digits_are_those_of_the_number_itself(digits):
    """Powers of 1,001 to 4,000 digits, past what `exact` answers, against whole-number arithmetic."""
    for base, exponent in [(2, 4000), (3, 7919), (10, 1500), (7, 4001), (19_999, 300), (10**50 - 1, 40), (99, 777)]:
        found = FunctionCount(base, exponent)
        assert found.exact is None
        with localcontext() as context:
            context.prec = 5000
            value = Decimal(base**exponent)
            power = value.adjusted()
            mantissa = value.scaleb(-power).quantize(Decimal(1).scaleb(1 - digits))
            if mantissa >= 10:  # 10^50 - 1 to the 40th begins with 9s and rounds up
                mantissa, power = Decimal(1).quantize(Decimal(1).scaleb(1 - digits)), power + 1
        assert found.parts(digits) == (mantissa, power)
        assert len(found.parts(digits)[0].as_tuple().digits) == digits


@pytest.mark.parametrize(("base", "exponent", "text"), [(2, 0, "1"), (2, 128, None), (3, 5, "243"), (10, 3, "1,000")])
def test_small_counts_are_exact(base, exponent, text):
    found = FunctionCount(base, exponent)
    assert found.exact == base**exponent
    assert str(found) == (text or "3.4028e38")
    assert FunctionCount(10, 999).exact == 10**999
    assert FunctionCount(10, 1000).exact is None
    assert FunctionCount(10, 999).scientific(3) == "1.00e999"
    assert FunctionCount(99_999, 1).scientific(2) == "1.0e5"


def test_one_output_is_two_classes_and_labels_multiply():
    assert count_functions(3).exact == count_functions(3, 2).exact == 2**8 // 2**5
    for num_outputs, fixed in itertools.product([1, 2, 3, 10], range(5)):
        classes = max(2, num_outputs)
        tables = list(itertools.product(range(classes), repeat=4))
        fitting = sum(table[:fixed] == (0,) * fixed for table in tables)
        assert count_functions(4, num_outputs).exact == len(tables)
        assert count_functions(4, num_outputs, fixed=fixed).exact == fitting
        assert math.exp(log_fraction_fitting(fixed, num_outputs)) == pytest.approx(fitting / len(tables), rel=1e-14)


def test_largest_sizes():
    found = count_functions(10**300, 10**300)
    assert found.scientific(3) == f"1.00e{300 * 10**300}"
    assert found.log10 == pytest.approx(3e302)
    with pytest.raises(ValueError, match="above 1e300"):
        count_functions(10**301)


# --- tails ---


def exact_log_tail(m, k, classes):
    """log P(Binomial(m, 1/C) >= k) from whole numbers and 60-digit logarithms."""
    ways = sum(math.comb(m, j) * (classes - 1) ** (m - j) for j in range(k, m + 1))
    rest = classes**m - ways
    with localcontext() as context:
        context.prec = 60
        if rest < ways:  # near 1: the complement has the digits
            return math.log1p(-float(Decimal(rest) / Decimal(classes) ** m))
        return float(Decimal(ways).ln() - m * Decimal(classes).ln())


@pytest.mark.parametrize("classes", [2, 3, 10, 1000])
@pytest.mark.parametrize("m", [1, 2, 7, 64, 999, 1000, 2001])
def test_tails_are_the_exact_sums(m, classes):
    mean = m // classes
    wanted = {0, 1, m // 3, m // 2, mean - 1, mean, mean + 1, mean + 2, 2 * mean, m - 1, m}
    for k in sorted(k for k in wanted if 0 <= k <= m):
        assert log_share_right(m, k, classes) == pytest.approx(exact_log_tail(m, k, classes), rel=1e-11, abs=1e-300)


def test_tails_are_those_of_all_functions():
    """Brute force: of all 3^4 tables, those right on at least k of the 4 inputs."""
    target = (0, 2, 1, 1)
    right = [sum(a == b for a, b in zip(table, target, strict=True)) for table in itertools.product(range(3), repeat=4)]
    for k in range(5):
        share = sum(r >= k for r in right) / len(right)
        assert math.exp(log_share_right(4, k, 3)) == pytest.approx(share, rel=1e-13)


def test_known_and_deep_tails():
    assert f"{math.exp(log_share_right(64, 58)):.2e}" == "4.51e-12"
    # One function of 2^m, 1 + m of 2^m: deep below the smallest float.
    assert log_share_right(10**6, 10**6) == pytest.approx(-(10**6) * math.log(2), rel=1e-14)
    assert log_share_right(10**6, 10**6 - 1) == pytest.approx(-(10**6) * math.log(2) + math.log1p(10**6), rel=1e-14)
    free = 10**8 - 992
    assert log_share_right(free, free, 19_999) == pytest.approx(-free * math.log(19_999), rel=1e-14)


@pytest.mark.parametrize("k", [49_900_000, 49_999_999, 50_000_000, 50_000_001, 50_020_000])
def test_large_tables(k):
    # SciPy's incomplete beta is good to about 1e-10 here, in the middle of the law.
    assert log_share_right(10**8, k) == pytest.approx(stats.binom.logsf(k - 1, 10**8, 0.5), rel=1e-8, abs=1e-12)


# --- errors ---


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda: count_functions(0), ValueError, "num_inputs is 0"),
        (lambda: count_functions(4.0), TypeError, r"num_inputs is 4\.0; give a whole number"),  # type: ignore[arg-type]
        (lambda: count_functions(True), TypeError, "num_inputs is True"),
        (lambda: count_functions(4, 0), ValueError, "num_outputs is 0"),
        (lambda: count_functions(4, fixed=5), ValueError, "fixed is 5; give how many of the 4 inputs"),
        (lambda: count_functions(4, fixed=-1), ValueError, "fixed is -1"),
        (lambda: log_fraction_fitting(-1), ValueError, "fixed is -1"),
        (lambda: count_functions(4).scientific(0), ValueError, "1 to 100 significant digits"),
        (lambda: log_share_right(4, 5), ValueError, "at_least is 5"),
        (lambda: log_share_right(0, 0), ValueError, "num_free is 0"),
        (lambda: log_share_right(10**12 + 1, 0), ValueError, "1 to 1,000,000,000,000 inputs"),
        (lambda: Counting(4, fixed=4, at_least=0), ValueError, "leave it out"),
    ],
)
def test_errors(call, error, sentence):
    with pytest.raises(error, match=sentence):
        call()


# --- command line ---


def run(capsys, words):
    code = main(["count", *words.split()])
    out, err = capsys.readouterr()
    return code, out, err


def test_command(capsys):
    code, out, err = run(capsys, "--inputs 100000000 --outputs 19999 --fixed 992")
    assert (code, err) == (0, "")
    for text in ("1.0957e430100828", "2.7510e430096561", "10^-4266.60", "992 fixed labels"):
        assert text in out
    code, out, err = run(capsys, "--inputs 128 --outputs 2 --fixed 64 --at-least 58")
    assert (code, err) == (0, "")
    assert "4.51e-12" in out
    assert "58 or more of 64 free inputs" in out
    assert run(capsys, "--inputs 1e8 --digits 3")[1].count("\n") == 1


def test_command_as_json(capsys):
    found = json.loads(run(capsys, "--inputs 1e8 --outputs 19999 --fixed 992 --json")[1])
    assert found["functions"]["scientific"] == "1.0957e430100828"
    assert found["functions"]["power_of_ten"] == 430_100_828
    assert found["fitting"]["scientific"] == "2.7510e430096561"
    assert found["fraction_fitting"]["log10"] == pytest.approx(-4266.60, abs=0.005)
    assert found["fraction_fitting"]["value"] is None  # below 1e-300
    found = json.loads(run(capsys, "--inputs 128 --fixed 64 --at-least 58 --json")[1])
    assert found["functions"]["exact"] == str(2**128)
    assert found["share_right"]["value"] == pytest.approx(4.51e-12, rel=1e-3)
    assert found["share_right"]["log"] == log_share_right(64, 58)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("", "required: --inputs"),
        ("--inputs 1.5", "expected a whole number"),
        ("--inputs 4 --fixed 5", "fixed is 5; give how many of the 4 inputs"),
        ("--inputs 4 --at-least 5", "at_least is 5"),
        ("--inputs 4 --fixed 4 --at-least 0", "leave it out"),
        ("--inputs 4 --digits 101", "1 to 100 significant digits"),
        ("--inputs 4 --output 3", "Did you mean '--outputs'?"),
    ],
)
def test_usage_errors(capsys, words, sentence):
    code, out, err = run(capsys, words)
    assert (code, out) == (2, "")
    assert err.startswith("volume: error: ")
    assert sentence in err


def test_no_array_library_is_imported():
    script = "import sys\nfrom volume.__main__ import main\nassert main(['count', '--inputs', '1e8']) == 0\n"
    script += "assert not {'jax', 'numpy', 'scipy', 'rich'} & set(sys.modules), sys.modules\n"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
