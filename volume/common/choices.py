"""The words that arguments and options choose from, each list once; importing this costs nothing.

Where a word stands for a function, the dictionary that has it takes its names from here or is compared with them in a
test: `volume.models.ACTIVATIONS`, `volume.samplers.OPTIMISERS` and `OBJECTIVES`, the divergences of `volume.Local`.
"""

# Every method.
DTYPES = ("float32", "float64")
PRECISIONS = ("default", "high", "highest")  # of matrix products

# Networks and questions.
ACTIVATIONS = ("linear", "relu", "tanh", "erf", "gelu", "sine", "sign")
POOLED = ("pooled", "pooled:inputs")
SYMMETRIES = ("none", "quotient", *POOLED)

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
