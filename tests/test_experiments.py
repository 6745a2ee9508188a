"""The settings of the networks: the five final ones as the original solution trained them, and what is refused."""

import json
from dataclasses import fields, replace

import pytest
from hypothesis import given, strategies as st

from motors.experiments import catalogue, others
from motors.experiments.catalogue import EXPERIMENTS
from motors.experiments.config import Experiment
from motors.experiments.demo import DEMO
from motors.experiments.numbered import NUMBERED, TRIED
from motors.workspace.paths import canonical_tag

OTHERS = others.OTHERS
OF_A_NETWORK = ("name", "encoder", "neck", "normalisation")
FINAL = ("resnext50", "densenet121", "x3d_m", "maxvit_tiny", "coat_medium")

# How the original solution trained its five final networks, row by row, in the order of FINAL.
TABLE = {
    "fold": (-1, -1, -1, -1, 0),  # only CoaT left a fold out
    "patch": ((224, 448, 448), (224, 448, 448), (224, 448, 448), (3, 896, 896), (3, 896, 896)),
    "spacing": ((16, 16, 16), (16, 16, 16), (16, 16, 16), (32, 16, 16), (32, 16, 16)),
    "background": (0.05, 0.05, 0.25, 0.05, 0.25),
    "batch": (2, 2, 2, 8, 4),
    "accumulate": (2, 2, 2, 4, 8),
    "learning_rate": (5e-4, 5e-4, 5e-4, 1e-4, 1e-4),
    "warmup": (3000, 3000, 1000, 0, 0),
    "steps": (32010, 32000, 30000, 20000, 16100),
    "optimiser_steps": (32000, 32000, 30000, 20000, 10000),  # the checkpoint that was used
    "save_every": (2000, 2000, 1000, 2000, 10000),
    "seed": (6112210, 2210, 42, 20250305, 42),
    "average": (0.99, 0.99, 0.99, 0.99, 0.99),
    "precision": ("16-mixed",) * 5,
    # and what goes with it
    "sigma": (200.0,) * 5,
    "stride": (16,) * 5,
    "grid": ((14, 28, 28), (14, 28, 28), (14, 28, 28), (1, 56, 56), (1, 56, 56)),
    "repeats": (16, 16, 16, 50, 50),
    "normalisation": ("imagenet", "imagenet", "kinetics", "half", "imagenet"),
    "neck": ("fpn",) * 5,
    "is_2d": (False, False, False, True, True),
}

# All rows of the original's table and what is said beside it, by their names there.
ROWS = """experiment, label table, train_on_all, patch / spacing, bg_ratio / bg_from_pos, batch x accum, lr0,
warm-up steps, max_steps, checkpoint used, save every, validation at step, seed, cudnn benchmark / deterministic,
train workers, EMA decay, pretrained, precision, float32 matmul precision""".replace("\n", " ").split(", ")
BECAME = {
    "experiment": ("name",),
    "train_on_all": ("fold",),
    "patch / spacing": ("patch", "spacing"),
    "bg_ratio / bg_from_pos": ("background", "background_from_positive"),
    "batch x accum": ("batch", "accumulate"),
    "lr0": ("learning_rate",),
    "warm-up steps": ("warmup",),
    "max_steps": ("steps",),
    "checkpoint used": ("optimiser_steps",),
    "save every": ("save_every",),
    "seed": ("seed",),
    "EMA decay": ("average",),
    "precision": ("precision",),
}
NO_SETTING = (  # of an experiment, on purpose
    "label table",  # notebook 10 decides which labels there are, for all networks alike
    "validation at step",  # notebook 30 validates, all networks alike and once they are trained
    "cudnn benchmark / deterministic",  # training on GPUs looks for the fastest way: all micro-batches have one shape
    "float32 matmul precision",  # "medium" there; torch's default here: exact where mixed precision does not apply
    "train workers",  # a parameter of the notebooks: the samples are the same with any number
    "pretrained",  # a parameter of the notebooks: a file of weights
)


def test_every_row_of_the_original_is_a_setting_or_none_on_purpose():
    """No row is forgotten or in both lists; those that are settings are compared with the original's."""
    assert sorted([*BECAME, *NO_SETTING]) == sorted(ROWS)
    settings = {name for names in BECAME.values() for name in names}
    assert settings - set(TABLE) == {"name", "background_from_positive"}  # compared in tests of their own
    named = {"benchmark", "deterministic", "matmul_precision", "workers", "pretrained", "validate_at"}
    assert {f.name for f in fields(Experiment)} & named == set()


@pytest.mark.parametrize("row", TABLE)
def test_the_five_final_experiments_are_those_of_the_original(row):
    """One row of the table of the original's settings."""
    assert tuple(getattr(catalogue.get(name), row) for name in FINAL) == TABLE[row]


def test_the_3d_experiments_take_the_original_share_of_background_from_tomograms_with_motors():
    """A row that 2D networks do not have."""
    shares = [catalogue.get(name).background_from_positive for name in FINAL[:3]]
    assert shares == [0.25, 0.25, 0.10]


@pytest.mark.parametrize("name", FINAL)
def test_the_full_profile_of_a_family_is_its_original_and_others_are_shrunk(name):
    """`of` finds experiments by family and profile."""
    assert catalogue.of(name, "full") is catalogue.get(name)
    assert catalogue.get(name).family == name


@pytest.mark.parametrize("profile", ["demo", "smoke"])
@pytest.mark.parametrize("family", sorted({name.rsplit("_", 1)[0] for name in EXPERIMENTS if "_demo" in name}))
def test_a_shrunk_experiment_keeps_its_family(family, profile):
    """It has the block type, blob and precision of the original, cells about as wide, and fewer steps.

    The decay of the five is the original's too. That of the EfficientNet, an extra, is shorter: it stops early, and no
    average of the demo may hold weights that the training began with.
    """
    small, whole = catalogue.of(family, profile), catalogue.get(family)
    for name in ("family", "sigma", "normalisation", "precision", "is_2d", "neck"):
        assert getattr(small, name) == getattr(whole, name), name
    assert small.average == whole.average or family not in FINAL
    assert small.average**small.steps < 0.001 or profile == "smoke"
    assert 0.7 < small.stride * small.spacing[2] / (whole.stride * whole.spacing[2]) < 1.6
    assert (small.neck_channels == 0) == (whole.neck_channels == 0)
    assert small.encoder.split("/")[0] == whole.encoder.split("/")[0]
    assert small.steps < whole.steps


def test_all_networks_of_the_demo_can_share_their_volumes_and_their_held_out_part():
    """One spacing in y and x, a whole multiple along z, and the same tomograms left out."""
    demos = [catalogue.of(family, "demo") for family in FINAL]
    for demo in demos:
        assert demo.spacing[1:] == demos[0].spacing[1:]
        assert demo.spacing[0] % demos[0].spacing[0] == 0
        assert demo.fold == demos[0].fold


@pytest.mark.parametrize("other", OTHERS, ids=lambda other: other.name)
def test_other_networks_are_trained_as_the_one_of_their_family(other):
    """Only the network differs."""
    alike = replace(catalogue.get(other.family), **{name: getattr(other, name) for name in OF_A_NETWORK})
    assert alike == other
    assert other.name not in FINAL and other != catalogue.get(other.family)


@pytest.mark.parametrize("name", sorted(EXPERIMENTS))
def test_an_experiment_survives_json(name, tmp_path):
    """Written and read back it is the same, tuples included, from text and from a file."""
    experiment = catalogue.get(name)
    assert experiment.name == name
    assert Experiment.from_json(experiment.to_json()) == experiment
    (tmp_path / "experiment.json").write_text(experiment.to_json())
    again = Experiment.read(tmp_path / "experiment.json")
    assert again == experiment
    assert isinstance(again.patch, tuple) and isinstance(again.spacing, tuple)


@given(
    patch=st.tuples(*[st.integers(1, 8).map(lambda n: 32 * n)] * 3),
    spacing=st.tuples(*[st.floats(1, 64)] * 3),
    learning_rate=st.floats(1e-9, 1),
    steps=st.integers(1, 10**6),
)
def test_any_variant_survives_json(**changes):
    """Numbers come back to the last bit."""
    variant = replace(catalogue.get("resnext50"), stop_at=None, name="variant", **changes)
    assert Experiment.from_json(variant.to_json()) == variant


def test_a_variant_changes_what_it_names_and_nothing_else():
    """The original is frozen and stays as it is."""
    original = catalogue.get("x3d_m")
    variant = replace(original, name="x3d_m_large", encoder="x3d/l")
    before, after = json.loads(original.to_json()), json.loads(variant.to_json())
    assert {key for key in before if before[key] != after[key]} == {"name", "encoder"}
    assert original.encoder == "x3d/m"
    with pytest.raises(AttributeError):
        original.encoder = "x3d/l"


def test_strides_and_grid_follow_from_the_patch():
    """A 3D network answers every 16 voxels along each axis, a 2D network for its three slices at once."""
    block = replace(catalogue.get("resnext50"), patch=(32, 64, 96))
    assert (block.strides, block.grid) == ((16, 16, 16), (2, 4, 6))
    slices = replace(catalogue.get("coat_medium"), patch=(3, 64, 96))
    assert (slices.strides, slices.grid) == ((3, 16, 16), (1, 4, 6))


def test_an_unknown_name_is_answered_with_the_nearest():
    """One sentence that helps, also where the small version was wanted."""
    for name in ("resnet5", "resnet50_dmo"):
        with pytest.raises(ValueError, match=f"no experiment is called '{name}': did you mean .*resnet50"):
            catalogue.get(name)
    with pytest.raises(ValueError, match="no experiment is called 'RESNEXT50': did you mean resnext50"):
        catalogue.get("RESNEXT50")
    with pytest.raises(ValueError, match="no profile 'tiny'"):
        catalogue.of("resnet50", "tiny")


WHOLE = sorted(name for name in EXPERIMENTS if not name.endswith("_demo"))


@pytest.mark.parametrize("profile", ["demo", "smoke"])
@pytest.mark.parametrize("name", WHOLE)
def test_every_experiment_has_small_versions_by_rule(name, profile):
    """Small patches of the demo, the same kind of encoder and the same notebook; what it is about stays."""
    whole, small = catalogue.get(name), catalogue.of(name, profile)
    assert small.name == f"{name}_{profile}" and catalogue.get(small.name) == small
    assert small.patch in ((32, 64, 64), (3, 128, 128)) and small.is_2d == whole.is_2d
    assert (small.batch, small.accumulate, small.seed, small.fold) == (2 if not small.is_2d else small.batch, 1, 0, 0)
    assert catalogue.training_notebook(small) == catalogue.training_notebook(whole)
    for about in ("mixup", "neck", "sigma", "augment", "most_motors", "starts_from", "positive_weight"):
        assert getattr(small, about) == getattr(whole, about), about
    assert small.steps <= (4 if profile == "smoke" else 1400) and small.stop_at is None


def test_the_small_versions_tuned_by_hand_are_those_of_the_catalogue():
    """The demo's figures hang on them: a rule does not touch them."""
    for family, tuned in DEMO.items():
        assert catalogue.of(family, "demo") == tuned
        smoke = replace(tuned, name=f"{family}_smoke", steps=4, warmup=1, save_every=2)
        assert catalogue.of(family, "smoke") == smoke


def test_rates_and_lengths_of_small_versions_stand_in_the_same_proportion():
    """EXP10 took a fifth of the rate of EXP04, EXP23 went on for a fifth longer than EXP16."""
    slow, usual = catalogue.get("EXP10_demo"), catalogue.get("EXP04_demo")
    assert slow.learning_rate / usual.learning_rate == pytest.approx(0.2)
    long, short = catalogue.get("EXP23_demo"), catalogue.get("EXP16_demo")
    assert long.steps / short.steps == pytest.approx(1.2)


def test_all_numbered_experiments_are_there_with_a_remark():
    """EXP01 to EXP31; one number is in no list. The final five have the settings of the final networks."""
    assert set(NUMBERED) == set(TRIED) == {f"EXP{number:02d}" for number in range(1, 32) if number != 17}
    assert catalogue.get("EXP6") is NUMBERED["EXP06"] and catalogue.get("EXP6_smoke").name == "EXP06_smoke"
    final = ("EXP31", "EXP28", "EXP16", "EXP27", "EXP19")
    assert [replace(NUMBERED[ours], name=name) for ours, name in zip(final, FINAL, strict=True)] == [
        catalogue.get(name) for name in FINAL
    ]


def test_numbered_experiments_differ_in_what_they_tried():
    """One setting each, as the original's list has it."""
    exp = NUMBERED
    assert (exp["EXP06"].mixup, exp["EXP06"].mixup_alpha, exp["EXP30"].mixup, exp["EXP30"].neck) == (0.2, 1, 0.1, "pan")
    assert exp["EXP09"] == replace(exp["EXP08"], name="EXP09", encoder_options={"lstm": True})
    assert (exp["EXP03"].starts_from, exp["EXP03"].augment, exp["EXP03"].most_motors) == ("EXP01", False, 1)
    assert exp["EXP10"].learning_rate == 1e-4


def test_settings_are_changed_by_name():
    """What is named changes, and nothing else; values are JSON's, texts need no quotation marks."""
    whole = catalogue.get("resnet50_demo")
    text = "learning_rate=1e-4 steps=200 patch=[ 32, 64,96 ] optimiser=adamw augment=false"
    text += ' encoder_options={"layers": [1]}'
    expected = replace(
        whole,
        learning_rate=1e-4,
        steps=200,
        patch=(32, 64, 96),
        optimiser="adamw",
        augment=False,
        encoder_options={"layers": [1]},
    )
    assert catalogue.change(whole, text) == expected
    assert catalogue.change(whole, "") == whole


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        ("augment=False stop_at=None", {"augment": False, "stop_at": None}),
        ("patch=(32,64,96)", {"patch": (32, 64, 96)}),
        ("patch=32,64,96 sigma=.5e3", {"patch": (32, 64, 96), "sigma": 500.0}),
        ("steps=1e3 warmup=20.0 sigma=+1.e2", {"steps": 1000, "warmup": 20, "sigma": 100.0}),
    ],
)
def test_values_may_be_written_as_python_and_the_names_of_runs_have_them(text, changes):
    """What makes the same name makes the same settings."""
    whole = catalogue.get("resnet50_demo")
    assert catalogue.change(whole, text) == replace(whole, **changes)
    assert catalogue.change(whole, canonical_tag(text).replace("_", " ").replace("stop at", "stop_at")) == replace(
        whole, **changes
    )


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ("learning_rat=1", "no setting 'learning_rat': did you mean learning_rate"),
        ("steps=many", "steps is 'many'"),
        ("steps", "'steps' is not a setting with one value"),
        ("steps=2 steps=3", "SET 'steps=2 steps=3': steps is there twice: give it one value"),
        ("batch=true", "batch is True"),
        ("batch=2.5", "batch is 2.5"),
        ("resampling=cubic", "resampling is 'cubic', but should be 'linear' or 'mean'"),
        ("neck=bifpn", "neck is 'bifpn', but should be 'fpn' or 'pan'"),
        ("precision=16", "precision is 16, but should be '16-mixed', 'bf16-mixed' or '32-true'"),
        ("sigma={1,2}", r"sigma is '.1,2.'"),
        ("sigma=2j", "sigma is '2j'"),
        ("sigma=-5", "sigma is -5"),
        ("learning_rate=NaN", "learning_rate is"),
        ("seed=3", "seed is not changed with SET"),
        ("patch=[32,64,60]", "must divide by 32"),
    ],
)
def test_settings_that_cannot_be_changed_so_are_refused(settings, sentence):
    """In one sentence."""
    with pytest.raises(ValueError, match=sentence) as refused:
        catalogue.change(catalogue.get("resnet50_demo"), settings)
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 160


def test_a_training_notebook_trains_its_kind_and_names_another_ones_notebook():
    """2D in a 3D notebook is refused by name; so is a setting that makes another kind of it."""
    own = catalogue.chosen("20_train_resnext50", "smoke", "EXP5", "sigma=300", seed=3, fold=2, checkpointing=True)
    assert (own.name, own.sigma, own.seed, own.fold, own.checkpointing) == ("EXP05_smoke", 300, 3, 2, True)
    for name, notebook in (("maxvit_tiny", "23_train_maxvit_tiny"), ("EXP16", "22_train_x3d_m")):
        with pytest.raises(ValueError, match=f"20_train_resnext50 does not train {name}, .*use {notebook}"):
            catalogue.chosen("20_train_resnext50", "demo", name)
    for name in FINAL:
        assert catalogue.training_notebook(catalogue.get(name))[3:] == f"train_{name}"


@pytest.mark.parametrize(
    ("name", "patch", "nearest"),
    [("resnext50", (224, 448, 440), r"\(224, 448, 448\)"), ("maxvit_tiny", (3, 900, 896), r"\(896, 896\)")],
)
def test_a_patch_that_the_encoder_cannot_halve_five_times_is_refused(name, patch, nearest):
    """Every side must divide by 32, but for the three slices of a 2D network; the sentence offers the nearest."""
    with pytest.raises(ValueError, match=rf"{name}: patch .* must divide by 32, .* the nearest is {nearest}"):
        replace(catalogue.get(name), patch=patch)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"patch": (64, 64)}, "patch .* needs three"),
        ({"patch": (0, 64, 64)}, "must divide by 32"),
        ({"spacing": (16.0, 0.0, 16.0)}, "spacing is 0.0"),
        ({"batch": 0}, "batch is 0"),
        ({"repeats": 0}, "repeats is 0"),
        ({"batch": True}, "batch is True"),
        ({"accumulate": 0}, "accumulate is 0"),
        ({"save_every": 0}, "save_every is 0"),
        ({"warmup": -1}, "warmup is -1"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
        ({"learning_rate": "1e-4"}, "learning_rate is '1e-4'"),
        ({"sigma": -5}, "sigma is -5"),
        ({"unaugmented": 1.5}, "unaugmented is 1.5"),
        ({"overlap": 1.0}, "overlap is 1.0"),
        ({"fold": -2}, "fold is -2"),
        ({"stop_at": 32_011}, "stop within its 32010 steps, not at 32011"),
        ({"stop_at": 0}, "stop_at is 0"),
        ({"optimiser": "sgd"}, "optimiser is 'sgd', .* 'adamw' or 'muon'"),
        ({"learning_rat": 1e-4}, "no setting 'learning_rat': did you mean learning_rate"),
        (
            {"encoder": "timm/resnet18", "patch": (5, 64, 96)},
            r"has 5 slices, but a 2D network sees 3: .* \(3, 64, 96\)",
        ),
        ({"average": 1.0}, "average is 1.0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes, sentence):
    """Each with one sentence that names the experiment and fits a line or two."""
    with pytest.raises(ValueError, match=f"experiment resnext50: .*{sentence}") as refused:
        replace(catalogue.get("resnext50"), **changes)
    assert type(refused.value) is ValueError and "\n" not in str(refused.value) and len(str(refused.value)) < 160


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda settings: settings | {"learning_rat": 1}, "no setting 'learning_rat': did you mean learning_rate"),
        (lambda settings: {"name": "a", "family": "a"}, "setting 'encoder' is missing"),
        (lambda settings: [settings], "not an object of settings by name"),
        (lambda settings: settings | {"patch": 5}, "patch is 5"),
        (lambda settings: settings | {"patch": "abc"}, "patch is 'abc'"),
        (lambda settings: settings | {"spacing": [16, "16", 16]}, "spacing is '16'"),
        (lambda settings: settings | {"encoder": 3}, "encoder is 3"),
        (lambda settings: settings | {"encoder_options": [1]}, r"encoder_options is \[1\]"),
        (lambda settings: settings | {"steps": "many"}, "steps is 'many'"),
        (lambda settings: settings | {"stop_at": "end"}, "stop_at is 'end'"),
        (lambda settings: settings | {"augment": "yes"}, "augment is 'yes'"),
        (lambda settings: settings | {"sigma": None}, "sigma is None"),
    ],
)
def test_a_file_with_other_settings_is_refused_by_name(change, sentence, tmp_path):
    """An unknown setting is not dropped, a missing one not guessed."""
    path = tmp_path / "experiment.json"
    path.write_text(json.dumps(change(json.loads(catalogue.get("resnext50").to_json()))))
    with pytest.raises(ValueError, match=rf"experiment\.json holds no experiment .*{sentence}"):
        Experiment.read(path)


def test_a_record_of_version_0_1_is_read():
    """It named a label table, which chose nothing, and had other names for two settings."""
    experiment = replace(catalogue.get("x3d_m"), unaugmented=0.25, checkpointing=True)
    old = json.loads(experiment.to_json()) | {"table": "all_gt"}
    old |= {"lightly": old.pop("unaugmented"), "recompute": old.pop("checkpointing")}
    assert Experiment.from_json(json.dumps(old)) == experiment


def test_a_file_that_is_not_json_or_not_there_is_refused_by_name(tmp_path):
    """The sentence names the file; an editor's mark before what is one means nothing."""
    (tmp_path / "experiment.json").write_text(f"\ufeff{EXPERIMENTS['resnext50'].to_json()}", encoding="utf-8")
    assert Experiment.read(tmp_path / "experiment.json") == EXPERIMENTS["resnext50"]
    (tmp_path / "experiment.json").write_text("{")
    with pytest.raises(ValueError, match=r"experiment\.json holds no experiment"):
        Experiment.read(tmp_path / "experiment.json")
    with pytest.raises(FileNotFoundError, match="missing.json"):
        Experiment.read(tmp_path / "missing.json")


@pytest.mark.parametrize(
    ("encoder", "pools"),
    [
        ("smp/tu-densenet121", False),
        ("smp/senet154", True),
        ("smp/tu-legacy_senet154", True),
        ("smp/se_resnext50_32x4d", True),
        ("smp/tu-seresnet50", True),
        ("x3d/m", True),
    ],
)
def test_an_encoder_with_squeeze_and_excitation_is_known_by_its_name(encoder, pools):
    """A DenseNet has none, though its name holds that of SENet."""
    assert replace(catalogue.get("resnext50"), encoder=encoder).encoder_pools is pools
