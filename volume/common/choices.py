"""The words that arguments and options choose from, each list once; importing this costs nothing.

Where a word stands for a function, the dictionary that has it takes its names from here or is compared with them in a
test: `volume.models.ACTIVATIONS`, `volume.samplers.OPTIMISERS` and `OBJECTIVES`, the divergences of `volume.Local`.

`spelled` and `nearest` find the word that somebody meant who typed another.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

# Every method.
DTYPES = ("float32", "float64")
PRECISIONS = ("default", "high", "highest")  # of matrix products

# Networks and questions.
ACTIVATIONS = ("linear", "relu", "tanh", "erf", "gelu", "sine", "sign")
POOLED = ("pooled", "pooled:inputs")
SYMMETRIES = ("none", "quotient", *POOLED)

# `Splitting`.
LAST_LAYERS = ("moved", "integrated")

# `Exact`.
PATHS = ("auto", "blocks", "sums")

# `Trained`.
OPTIMISERS = (
    *("sgd", "momentum", "nesterov", "adabelief", "adadelta", "adagrad", "adam", "adamax", "adamw", "amsgrad", "lamb"),
    *("lars", "lion", "nadam", "nadamw", "radam", "rmsprop", "sm3", "yogi", "sign"),
)
SCHEDULES = ("constant", "linear", "cosine", "warmup-cosine", "exponential")
LOSSES = ("cross-entropy", "mse", "hinge")
POLICY_GRADIENTS = ("reinforce", "reinforce-baseline", "ppo")
STOPS = ("fit", "steps")

# `Local`.
DIVERGENCES = ("kl", "agreement")
ESTIMATORS = ("rays", "splitting", "both")
PRECONDITIONERS = ("auto", "identity", "diagonal", "full", "adam")
CHAINS = ("auto", "tempered", "levels")
STARTS = ("cover", "prior")

# Our words, in lower case with hyphens, and what others call the same.
SYNONYMS: dict[str, tuple[str, ...]] = {
    # Methods.
    "direct": ("monte-carlo", "mc", "sampling", "sample", "random"),
    "exact": ("enumeration", "enumerate", "exhaustive", "brute-force"),
    "splitting": ("smc", "ams", "multilevel", "subset-simulation", "rare"),
    "infinite-width": ("nngp", "gp", "wide", "wide-limit", "infinite", "gaussian-process"),
    "trained": ("training", "train", "sgd"),
    # Models and activations.
    "mlp": ("dense", "fc", "fcn", "ffn", "fully-connected", "feedforward", "network", "nn"),
    "perceptron": ("linear",),
    "linear": ("identity", "none", "id"),
    "sine": ("sin", "siren"),
    "sign": ("step", "heaviside", "signum", "threshold"),
    "relu": ("rectifier", "rectified-linear", "leaky-relu"),
    "tanh": ("sigmoid", "logistic"),
    "gelu": ("silu", "swish"),
    # Priors.
    "gaussian": ("normal", "gauss", "randn", "n"),
    "uniform": ("flat", "box", "rand"),
    "sphere": ("spherical", "ball"),
    "binary": ("signs", "rademacher"),
    "levels": ("lattice", "discrete", "quantised", "quantized", "grid"),
    "lattice": ("levels", "discrete", "quantised", "quantized", "grid"),
    # Domains.
    "boolean": ("cube", "hypercube", "bits", "bool"),
    "booleancube": ("cube", "hypercube", "bits", "bool"),
    "points": ("file", "data", "csv", "npy", "inputs"),
    "digits": ("mnist",),
    # Classifiers and targets.
    "table": ("function", "functions", "truth-table", "truthtable"),
    "truthtable": ("function", "functions", "table", "truth-table"),
    "ones": ("balance", "class-balance", "count", "hamming"),
    "lz": ("complexity", "lempel-ziv", "lempelziv", "lzc"),
    "lempelziv": ("complexity", "lempel-ziv", "lz", "lzc"),
    "fits": ("train", "labels"),
    "accuracy": ("test", "generalisation", "generalization", "error"),
    "parity": ("xor",),
    "constant": ("zeros", "zero"),
    # Arithmetic.
    "float32": ("single", "fp32", "f32", "float"),
    "float64": ("double", "fp64", "f64"),
    "default": ("tf32", "bfloat16", "bf16", "low", "fastest"),
    # Training.
    "cross-entropy": ("ce", "crossentropy", "nll", "softmax", "log-loss"),
    "mse": ("l2", "squared", "squared-error", "mean-squared-error"),
    "reinforce": ("policy-gradient", "pg"),
    "cosine": ("cosine-decay", "cos"),
    # `Local` and symmetry.
    "kl": ("kullback-leibler", "kld", "loss"),
    "agreement": ("errors", "disagreement", "hamming"),
    "full": ("hessian", "fisher", "curvature"),
    "quotient": ("modulo", "orbits", "permutations"),
    # Commands.
    "estimate": ("run", "draw"),
    "compare": ("diff", "vs"),
    "merge": ("join", "combine"),
    "show": ("print", "cat", "view", "display", "summary"),
    "doctor": ("info", "version", "env"),
    "plot": ("figure",),
    # Options.
    "draws": ("samples", "num-draws", "num-samples", "n-samples", "n"),
    "out": ("output", "output-dir", "outdir", "dir", "folder", "save"),
    "level": ("confidence", "ci"),
    "seed": ("random-state", "random-seed", "rng"),
    "learning-rate": ("lr", "eta", "step-size"),
    "optimiser": ("optimizer",),
    "max-steps": ("epochs", "iterations", "steps"),
    "batch-size": ("batch",),
    "weight-std": ("sigma", "std", "sigma-w"),
    "bias-std": ("sigma-b",),
    "model": ("width", "widths", "layers", "architecture", "net"),
    "label": ("class",),
    "force": ("overwrite", "replace"),
    "anchor": ("checkpoint", "weights", "params"),
    "cutoff": ("tolerance", "epsilon", "eps"),
}


def folded(word: str) -> str:
    """Return a word as words are compared: in lower case, with hyphens."""
    return word.strip().lower().replace("_", "-").replace(" ", "-")


def spelled(given: object, known: Iterable[str]) -> str | None:
    """Return the one of the known words that was given, whatever its case and its hyphens; None where it is none of
    them."""
    if not isinstance(given, str):
        return None
    return next((word for word in known if word == given), None) or next(
        (word for word in known if folded(word) == folded(given)), None
    )


def nearest(given: object, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """Return the known word that was probably meant: the same in another spelling, a synonym, or one with like
    letters."""
    known = list(known)
    bare = str(given).lstrip("-")
    words = {folded(word.lstrip("-")): word for word in reversed(known)}
    same = spelled(bare, words) or next((word for word in words if folded(bare) in SYNONYMS.get(word, ())), None)
    if same is not None:
        return words[folded(same)]
    near = difflib.get_close_matches(folded(bare), words, n=1, cutoff=cutoff)
    return words[near[0]] if near else None
