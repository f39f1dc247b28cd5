"""The command line's words: what they mean, and the sentence for those that mean nothing."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from cli_runs import run

import volume
from volume import models, samplers
from volume.classifiers.argmax import Argmax
from volume.classifiers.labels import Accuracy, Fits
from volume.classifiers.lempel_ziv import LempelZiv
from volume.commands import methods, specs, values
from volume.commands.usage import UsageError
from volume.common import choices
from volume.functions.data_files import load_digits, read_rows, shaped
from volume.functions.domains import BooleanCube, Points
from volume.functions.targets import TARGETS
from volume.samplers import Gaussian, Sphere, Uniform


@pytest.mark.parametrize(
    ("text", "value"), [("1e7", 10_000_000), ("12", 12), ("1_000", 1000), ("2.5e1", 25), ("1.0", 1)]
)
def test_whole_numbers(text, value):
    number = values.parse_whole(text)
    assert number == value
    assert type(number) is int


@pytest.mark.parametrize("text", ["1.5", "", "many", "nan", "inf", "1e-3", "1e999999999"])
def test_not_whole(text):
    with pytest.raises(UsageError, match=r"expected a whole number such as 1000 or 1e7, got"):
        values.parse_whole(text)


@pytest.mark.parametrize("text", ["0", "-3", "-1e7"])
def test_too_small(text):
    with pytest.raises(UsageError, match="expected 1 or more"):
        values.parse_whole(text)


def test_seed_range():
    assert values.parse_seed("0") == 0
    assert values.parse_seed(str(2**64 - 1)) == 2**64 - 1
    with pytest.raises(UsageError, match="below 2"):
        values.parse_seed(str(2**64))
    with pytest.raises(UsageError, match="expected 0 or more"):
        values.parse_seed("-1")


def test_level_and_numbers():
    assert values.parse_level("0.9") == 0.9
    for text in ("0", "1", "95"):
        with pytest.raises(UsageError, match="between 0 and 1"):
            values.parse_level(text)
    assert values.parse_per_layer("1") == 1.0
    assert values.parse_per_layer("1,1.4,1") == (1.0, 1.4, 1.0)
    for text in ("1,", "a", "nan", "inf"):
        with pytest.raises(UsageError, match="expected a number"):
            values.parse_per_layer(text)


def test_coding():
    assert values.parse_coding("0,1") == (0, 1)
    assert values.parse_coding("-1,1") == (-1, 1)
    assert values.parse_coding("0.5,-0.5") == (0.5, -0.5)
    for text in ("1,1", "0", "0,1,2"):
        with pytest.raises(UsageError, match="two different numbers"):
            values.parse_coding(text)


def test_models():
    assert specs.parse_model("mlp:7-40-40-1").build() == models.MLP((7, 40, 40, 1), activation="relu", bias=True)
    built = specs.parse_model("mlp:2-3-1").build(activation="tanh", bias=False)
    assert built == models.MLP((2, 3, 1), activation="tanh", bias=False)
    assert specs.parse_model("perceptron:7").build(bias=False) == models.Perceptron(7, bias=False)


@pytest.mark.parametrize("text", ["mlp", "mlp:", "mlp:7", "mlp:7-0-1", "mlp:7--1", "mlp:7-a-1", "mlp:7-4.5-1"])
def test_malformed_mlp(text):
    with pytest.raises(UsageError, match="expected mlp:INPUTS-HIDDEN-"):
        specs.parse_model(text)


@pytest.mark.parametrize(
    ("parse", "text", "near"),
    [
        (specs.parse_model, "perceptorn:7", "perceptron"),
        (specs.parse_prior, "gausian", "gaussian"),
        (specs.parse_domain, "bolean:7", "boolean"),
        (specs.parse_classifier, "tabel", "table"),
        (specs.parse_classifier, "ones*acuracy:f.csv", "accuracy"),
    ],
)
def test_unknown_words_name_the_nearest(parse, text, near):
    with pytest.raises(UsageError, match=f"Did you mean '{near}'"):
        parse(text)


def test_imported_model(tmp_path, monkeypatch):
    source = "from volume.models import MLP\nnet = MLP((2, 3, 1))\ndef make():\n    return net\nword = 'text'\n"
    (tmp_path / "my_networks.py").write_text(source)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])  # as the installed command sees it
    model = specs.parse_model("import:my_networks:net").build()
    assert model == models.MLP((2, 3, 1))
    assert specs.parse_model("import:my_networks:make").build() == model
    for text, sentence in (
        ("import:my_networks:nte", "Did you mean 'net'"),
        ("import:my_networks:word", "a str, which has no 'parameters'"),
        ("import:my_netwroks:net", "No module named 'my_netwroks'"),
    ):
        with pytest.raises(UsageError, match=sentence):
            specs.parse_model(text).build()
    with pytest.raises(UsageError, match="--no-bias does not apply"):
        specs.parse_model("import:my_networks:net").build(bias=False)
    with pytest.raises(UsageError, match="expected import:"):
        specs.parse_model("import:my_networks")


def test_a_missing_import_of_the_users_own_module_is_not_blamed_on_the_word(tmp_path, monkeypatch):
    (tmp_path / "needs_more.py").write_text("import not_there_at_all\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="not_there_at_all"):
        specs.parse_model("import:needs_more:net").build()


def test_priors():
    assert specs.build_prior("gaussian", {"weight_std": None}) == Gaussian(weight_std=1.0, bias_std=0.0)
    assert specs.build_prior("gaussian", {"weight_std": (1.0, 2.0), "bias_std": 0.1}) == Gaussian((1.0, 2.0), 0.1)
    assert specs.build_prior("uniform", {"weight_bound": 2.0}) == Uniform(2.0, 0.0)
    assert specs.build_prior("sphere", {"radius": 3.0, "per_layer": True}) == Sphere(3.0, per_layer=True)
    with pytest.raises(UsageError, match="--radius belongs to the sphere prior, not to gaussian"):
        specs.build_prior("gaussian", {"radius": 1.0})


def test_domains(tmp_path):
    assert specs.parse_domain("boolean:3").build(coding=(-1, 1)) == BooleanCube(3, coding=(-1, 1))
    assert specs.parse_domain("boolean:3").build() == BooleanCube(3)
    rows = np.array([[0.0, 1.5], [2.0, -3.0]])
    np.save(tmp_path / "rows.npy", rows)
    assert specs.parse_domain(f"points:{tmp_path}/rows.npy").build() == Points(rows)
    square = specs.parse_domain(f"points:{tmp_path}/rows.npy").build(shape=(2, 1))
    assert square.input_shape == (2, 1)
    with pytest.raises(UsageError, match="--coding belongs to boolean"):
        specs.parse_domain(f"points:{tmp_path}/rows.npy").build(coding=(0, 1))
    for text in ("boolean", "boolean:", "boolean:x", "points", "digits:0,10", "digits:3,3", "digits:a"):
        with pytest.raises(UsageError, match="expected"):
            specs.parse_domain(text)


def test_digits():
    pytest.importorskip("sklearn")
    inputs, labels = load_digits((0, 7))
    assert inputs.shape == (357, 64)  # 178 zeros and 179 sevens
    assert set(labels) == {0, 7}
    assert inputs.min() == 0
    assert inputs.max() == 1
    assert specs.parse_domain("digits").build().num_inputs == 1797
    assert specs.parse_domain("digits:0,7").build(shape=(8, 8, 1)).input_shape == (8, 8, 1)


def test_digits_without_scikit_learn(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ValueError, match="needs scikit-learn: pip install"):
        specs.parse_domain("digits").build()


def test_plain_classifiers():
    names = {"table": volume.TruthTable(), "ones": volume.Ones(), "lz": LempelZiv(), "argmax": Argmax()}
    for word, expected in names.items():
        assert specs.build_classifier(specs.parse_classifier(word), None) == expected
    product = specs.build_classifier(specs.parse_classifier("ones*lz"), None)
    assert product == volume.Ones() * LempelZiv()
    with pytest.raises(UsageError, match="takes nothing after it"):
        specs.parse_classifier("ones:3")


def test_labels_in_the_word():
    cube = BooleanCube(2)
    word = specs.parse_classifier("fits:labels=01?1")
    assert specs.build_classifier(word, cube) == Fits(cube.inputs[[0, 1, 3]], [0, 1, 1])
    word = specs.parse_classifier("accuracy:labels=0111:2")
    assert specs.build_classifier(word, cube) == Accuracy(cube.inputs, [0, 1, 1, 1], bins=2)
    word = specs.parse_classifier("accuracy:labels=0111:0,0.5,1")
    assert specs.build_classifier(word, cube) == Accuracy(cube.inputs, [0, 1, 1, 1], bins=(0.0, 0.5, 1.0))
    with pytest.raises(UsageError, match="has 3 characters and the domain 4 inputs"):
        specs.build_classifier(specs.parse_classifier("fits:labels=011"), cube)
    with pytest.raises(UsageError, match="add --domain"):
        specs.build_classifier(specs.parse_classifier("fits:labels=011"), None)
    for text in ("fits", "fits:", "fits:labels=", "fits:labels=??", "fits:labels=0-1", "accuracy:"):
        with pytest.raises(UsageError, match="expected"):
            specs.parse_classifier(text)


def build(text, domain=None):
    return specs.build_classifier(specs.parse_classifier(text), domain)


def test_tasks_by_name():
    cube = BooleanCube(4, coding=(-1, 1))
    labels = volume.target("majority", 4)
    train, test = volume.split(16, 5, seed=3)
    fits = Fits(cube.inputs[train], labels[train])
    accuracy = Accuracy(cube.inputs[test], labels[test])
    assert build("fits:target=majority,train=5,split-seed=3", cube) == fits
    assert build("accuracy:target=majority,train=5,split-seed=3", cube) == accuracy
    assert build("given:target=majority,train=5,split-seed=3", cube) == volume.Given(fits, accuracy)
    binned = Accuracy(cube.inputs[test], labels[test], (0.5, 0.9))
    assert build("given:target=majority,bins=0.5/0.9,split-seed=3,train=5", cube) == volume.Given(fits, binned)
    assert build("accuracy:target=0011,bins=4", cube) == Accuracy(cube.inputs, volume.target("0011", 4), 4)
    assert build("fits:target=leading:2", cube) == Fits(cube.inputs, volume.target("leading:2", 4))
    first = build("fits:target=majority,train=5", cube)
    assert first == build("fits:target=majority,train=5,split-seed=0", cube) != fits


def test_defects_by_name():
    cube = BooleanCube(4)
    labels, hidden = volume.target("first-bit", 4), volume.target("leading:2", 4) == 1
    expected = volume.Defects.on(cube, labels, monitored=~hidden, trigger=hidden, bins=2)
    assert build("defects:target=first-bit,trigger=leading:2,bins=2", cube) == expected
    rows = np.flatnonzero(~hidden)[volume.split(12, 5, seed=1)[0]]
    expected = volume.Defects.on(cube, labels, monitored=rows, trigger=hidden)
    assert build("defects:target=first-bit,trigger=leading:2,train=5,split-seed=1", cube) == expected


def test_split_given_fits(tmp_path):
    cube = BooleanCube(2)
    fits = Fits(cube.inputs[[0, 1, 3]], [0, 1, 1])
    assert build("ones | fits:labels=01?1", cube) == volume.Given(fits, volume.Ones())
    assert build("ones*lz|fits:labels=01?1", cube) == volume.Given(fits, volume.Ones() * LempelZiv())
    path = tmp_path / "labelled.csv"
    path.write_text("0,1,1\n1,1,0\n")
    (word,) = specs.parse_classifier(f"ones|fits:{path}")
    assert word.path == str(path)
    assert build(f"ones|fits:{path}") == volume.Given(Fits([[0, 1], [1, 1]], [1, 0]), volume.Ones())


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("fits:target=majorty", "Unknown target 'majorty'.*Did you mean 'majority'"),
        ("fits:target=majority,trian=3", "Unknown option of fits: 'trian'.*Did you mean 'train'.* For example fits:"),
        ("fits:target=majority,bins=3", "Unknown option of fits: 'bins'"),
        ("fits:target=majority,train=0", "expected 1 or more"),
        ("fits:target=majority,train", "train has no value"),
        ("fits:target=majority,target=parity", "target stands there twice"),
        ("fits:target=majority,split-seed=2", "so it needs train="),
        ("fits:target=leading:x", "such as leading:3"),
        ("given:target=majority", "given: needs train=, for example given:"),
        ("given:train=3", "expected given:target="),
        ("given", "expected given:target="),
        ("defects:target=parity", "defects: needs trigger="),
        ("defects:target=parity,trigger=rare", "Unknown target 'rare'"),
        ("defects:file.csv", "expected defects:target="),
        ("accuracy:target=parity,bins=0.5/x", "expected a number"),
        ("ones | accuracy:target=parity", r"expected one fits:\.\.\. after the \|"),
        ("ones | fits:a.csv | fits:b.csv", "after the"),
        ("ones |", "Unknown classifier ''"),
    ],
)
def test_tasks_misspelt(text, sentence):
    with pytest.raises(ValueError, match=sentence):
        specs.parse_classifier(text)


@pytest.mark.parametrize(
    ("text", "domain", "sentence"),
    [
        ("fits:target=majority", None, "add --domain boolean:N"),
        ("fits:target=majority", Points([[0.0], [1.0]]), "add --domain boolean:N"),
        ("fits:target=majority,train=5", BooleanCube(2), "num_train is 5"),
        ("given:target=majority,train=4", BooleanCube(2), "leaves none of the 4 inputs"),
        ("fits:target=leading:3", BooleanCube(2), "fits:target=leading:3: leading asks for the first 1 to 2 bits"),
        ("defects:target=parity,trigger=constant", BooleanCube(2), "No input is in the trigger"),
        ("defects:target=parity,trigger=constant:1", BooleanCube(2), "No input is monitored"),
        ("accuracy:target=parity,bins=2/3", BooleanCube(2), "must lie in"),
    ],
)
def test_tasks_that_do_not_fit_the_domain(text, domain, sentence):
    with pytest.raises(ValueError, match=sentence):
        build(text, domain)


def test_labels_in_a_file(tmp_path):
    path = tmp_path / "labelled.csv"
    path.write_text("a,b,label\n0,1,1\n1,1,0\n")
    expected = np.array([[0, 1], [1, 1]])
    for text in (f"fits:{path}", f" fits:{path}"):
        assert specs.build_classifier(specs.parse_classifier(text), None) == Fits(expected, [1, 0])
    word = specs.parse_classifier(f"accuracy:{path}:5")
    assert specs.build_classifier(word, None) == Accuracy(expected, [1, 0], bins=5)
    assert specs.parse_classifier(f"accuracy:{path}")[0].bins is None
    path.write_text("1\n0\n")
    with pytest.raises(UsageError, match=r"label in the last column, got shape \(2, 1\)"):
        specs.build_classifier(specs.parse_classifier(f"fits:{path}"), None)
    path.write_text("1,0.5\n")
    with pytest.raises(ValueError, match="class numbers 0, 1, "):
        specs.build_classifier(specs.parse_classifier(f"fits:{path}"), None)


def test_files(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("1,2\n3,4\n")
    assert read_rows(str(path)).tolist() == [[1, 2], [3, 4]]
    path.write_text("x,y\n1,2\n")
    assert read_rows(str(path)).tolist() == [[1, 2]]
    path.write_text("\ufeff5,6\n")  # spreadsheets write a byte-order mark
    assert read_rows(str(path)).tolist() == [[5, 6]]
    for text in ("1,2\n3\n", "1,\n2,3\n", "x,y\n1,z\n"):
        path.write_text(text)
        with pytest.raises(ValueError, match="is not a table of numbers"):
            read_rows(str(path))
    np.save(tmp_path / "objects.npy", np.array([[None]]), allow_pickle=True)
    with pytest.raises(ValueError, match="is not a table of numbers"):
        read_rows(str(tmp_path / "objects.npy"))
    for array in (np.zeros(3), np.zeros((2, 2), complex), np.array([["a"]])):
        np.save(tmp_path / "odd.npy", array)
        with pytest.raises(ValueError, match="expected real numbers, one row per input"):
            read_rows(str(tmp_path / "odd.npy"))
    with pytest.raises(ValueError, match=r"expected a \.npy or \.csv file"):
        read_rows("rows.txt")
    with pytest.raises(FileNotFoundError):
        read_rows(str(tmp_path / "none.csv"))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "holds no rows: give one row of numbers for each input"),
        ("\ufeff", "holds no rows"),
        ("x,y\n", "holds no rows"),
        ("x,y\n\n# nothing\n", "holds no rows"),
        ("1,2\n\n3\n", "columns in line 3: 1, in the rows before it: 2; give every row as many"),
        ("x,y\n1,2\n3,z\n", "expected a number in line 3, column 2, got 'z'"),
        ("1,\n2,3\n", "expected a number in line 1, column 2, got nothing"),
        ("1;2\n3;4\n", "expected a number in line 2, column 1, got '3;4'"),
    ],
)
def test_files_of_no_table_are_named_with_their_flaw(tmp_path, text, sentence):
    path = tmp_path / "rows.csv"
    path.write_text(text)
    with pytest.raises(ValueError) as found:
        read_rows(str(path))
    assert str(found.value).startswith(f"{path} ")
    assert sentence in str(found.value)


def test_blank_lines_and_comments_are_passed_over(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("1,2\n\n# three and four\n3,4  # here\n")
    assert read_rows(str(path)).tolist() == [[1, 2], [3, 4]]


def test_files_that_only_bear_the_name_of_an_array(tmp_path):
    path = tmp_path / "rows.npy"
    np.savez(tmp_path / "rows.npz", a=np.zeros((2, 2)))
    whole = tmp_path / "whole.npy"
    np.save(whole, np.zeros((50, 2)))
    for content in (b"1,2\n", b"", (tmp_path / "rows.npz").read_bytes(), whole.read_bytes()[:-8]):
        path.write_bytes(content)
        with pytest.raises(ValueError) as found:
            read_rows(str(path))
        flaw = "is not a table of numbers: expected one array of numbers, as numpy.save writes it."
        assert str(found.value) == f"{path} {flaw}"
    np.save(path, np.zeros((0, 2)))
    with pytest.raises(ValueError, match="holds no rows"):
        read_rows(str(path))


def test_shaped():
    assert shaped(np.zeros((5, 6)), (2, 3)).shape == (5, 2, 3)
    assert shaped(np.zeros((5, 6)), (7,)).shape == (5, 6)


@pytest.mark.parametrize(
    ("words", "near"),
    [
        ("--prior normal", "gaussian"),
        ("--prior N", "gaussian"),
        ("--activation sin", "sine"),
        ("--activation identity", "linear"),
        ("--dtype double", "float64"),
        ("--method SMC", "splitting"),
        ("--method monte_carlo", "direct"),
        ("--classifier complexity", "lz"),
        ("--domain cube:2", "boolean"),
        ("--loss l2", "mse"),
        ("--schedule cos", "cosine"),
        ("--lr 0.1", "--learning-rate"),
        ("--optimizer adam", "--optimiser"),
        ("--random-state 3", "--seed"),
        ("--output here", "--out"),
        ("--Draws 3", "--draws"),
    ],
)
def test_the_nearest_right_word(capsys, words, near):
    code, _, err = run(capsys, "estimate", "--model", "mlp:2-3-1", *words.split())
    assert (code, f"Did you mean {near!r}?" in err) == (2, True), err


def test_every_synonym_names_a_word_of_ours():
    from volume.commands.command_table import build
    from volume.commands.measure_options import METHODS

    parser, commands = build()
    options = [name for each in (parser, *commands.values()) for name in each._option_string_actions]
    known = {choices.folded(word.lstrip("-")) for word in (*commands, *options, *METHODS, *methods.METHODS)}
    for words in (specs.PRIORS, specs.CLASSIFIERS, TARGETS, *map(dir, (volume, samplers, models))):
        known |= {choices.folded(word) for word in words}
    for name, words in vars(choices).items():
        known |= set(words) if name.isupper() and isinstance(words, tuple) else set()
    known |= {"boolean", "points", "digits", "mlp", "perceptron", "lattice"}
    assert set(choices.SYNONYMS) <= known
    assert all(word == choices.folded(word) for words in choices.SYNONYMS.values() for word in words)


def test_case_and_hyphens_do_not_matter():
    assert specs.parse_model("7-40-1") == specs.parse_model("MLP:7-40-1") == specs.parse_model("mlp:7-40-1")
    assert specs.parse_prior("Gaussian") == "gaussian"
    assert specs.parse_prior("LEVELS:-1,1") == "levels:-1,1"
    assert specs.parse_domain("Boolean:3") == specs.parse_domain("boolean:3")
    assert specs.parse_classifier("Ones*LZ") == specs.parse_classifier("ones*lz")
    assert values.one_of("activation", choices.ACTIVATIONS)("ReLU") == "relu"
    assert values.one_of("schedule", choices.SCHEDULES)("warmup_cosine") == "warmup-cosine"
    assert models.MLP((2, 3, 1), "ReLU") == models.MLP((2, 3, 1), "relu")
    assert volume.target("Majority", 3).tolist() == volume.target("majority", 3).tolist()


def test_zeros_and_ones_name_tables():
    bound = volume.TruthTable().bind(BooleanCube(2), 1)
    assert [bound.index(label) for label in ("zeros", "ones")] == [bound.index("0000"), bound.index("1111")]
    three = volume.TruthTable().bind(BooleanCube(2), 3)
    assert three.index("ones") == three.index("1111")


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("MLP", ": it is volume.models.MLP."),
        ("Gaussian", ": it is volume.samplers.Gaussian."),
        ("Normal", ": did you mean volume.samplers.Gaussian?"),
        ("direct", ": did you mean volume.Direct?"),
        ("Estimate", ": did you mean volume.estimate?"),
        ("zyx", ""),
        ("__wrapped__", ""),
    ],
)
def test_a_name_that_is_elsewhere(name, advice):
    with pytest.raises(AttributeError) as error:
        getattr(volume, name)
    assert str(error.value) == f"module 'volume' has no attribute {name!r}{advice}"


def test_a_switch_takes_no_value(capsys):
    code, _, err = run(
        capsys, *["measures", "--target", "majority", "--train", "4", "--model", "3-4-1", "--resolve", "no"]
    )
    assert (code, "--resolve takes no value, got 'no'" in err) == (2, True)
