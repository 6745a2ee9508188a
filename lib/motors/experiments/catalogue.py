"""Every experiment by name, in every size; changes of its settings, and the notebook that trains it."""

import json
import re
from ast import literal_eval
from contextlib import suppress
from dataclasses import asdict, replace
from difflib import get_close_matches
from typing import Any

from motors.experiments.config import Experiment
from motors.experiments.demo import DEMO, WHOLE, shrunk
from motors.experiments.numbered import NUMBERED
from motors.experiments.others import OTHERS
from motors.workspace.paths import words_of

# Those of full size, and the small ones tuned by hand.
EXPERIMENTS: dict[str, Experiment] = {
    each.name: each for each in (*WHOLE.values(), *OTHERS, *NUMBERED.values(), *DEMO.values())
}
NOTEBOOKS = {  # of an experiment, by a pattern of its encoder; the first match is used
    r"smp/(tu-)?densenet": "21_train_densenet121",
    r"smp/|slices/": "20_train_resnext50",
    r"x3d/": "22_train_x3d_m",
    r"timm/coat": "24_train_coat_medium",
    r"timm/tf_efficientnet_lite": "25_train_efficientnet_lite0",
    r"timm/": "23_train_maxvit_tiny",
}
PARAMETERS = ("name", "family", "seed", "fold", "checkpointing")  # of a notebook, or not to be changed


def get(name: str) -> Experiment:
    """Return the experiment `name`, small if it ends in `_demo` or `_smoke`; raises ValueError with similar names."""
    numbered = re.fullmatch(r"EXP(\d)(_\w+)?", name)
    wanted = f"EXP0{numbered[1]}{numbered[2] or ''}" if numbered else name
    whole, _, profile = wanted.rpartition("_")
    if wanted in EXPERIMENTS:
        return EXPERIMENTS[wanted]
    if whole in EXPERIMENTS and profile in ("demo", "smoke"):
        return shrunk(EXPERIMENTS[whole], profile)
    known = {each.lower(): each for each in EXPERIMENTS}
    near = [known[each] for each in get_close_matches(name.lower(), known, 3, 0.4)] or sorted(WHOLE)
    raise ValueError(f"no experiment is called {name!r}: did you mean {', '.join(near)}?")


def of(name: str, profile: str) -> Experiment:
    """Return the experiment `name` in the size of a `profile`: "full" as it is, others shrunk."""
    whole = get(name)
    if profile == "full" or whole.name.endswith(f"_{profile}"):
        return whole
    return EXPERIMENTS.get(f"{whole.name}_{profile}") or shrunk(whole, profile)


def change(experiment: Experiment, settings: str) -> Experiment:
    """Return the experiment with some settings changed.

    `settings` are `name=value` pairs, separated by spaces: "learning_rate=1e-4 steps=200 patch=[32,64,64]"; values are
    JSON or Python, strings without quotation marks. Raises ValueError if a setting is unknown (the message names the
    nearest), given twice, one of `PARAMETERS`, or invalid.
    """
    changed: dict[str, Any] = {}
    try:
        for word in words_of(settings.replace('"', '\\"')):
            name, equals, text = word.partition("=")
            if name in changed:
                raise ValueError(f"{name} is there twice: give it one value")
            if not equals or not text:
                raise ValueError(
                    f"{word!r} is not a setting with one value: write them as learning_rate=1e-4 steps=200"
                )
            if name in PARAMETERS:
                raise ValueError(f"{name} is not changed with SET: it has its own parameter, or follows from others")
            changed[name] = _value(text)
        return Experiment.from_json(json.dumps(asdict(experiment) | changed))
    except ValueError as error:
        raise ValueError(f"SET {settings!r}: {error}") from None


def _value(text: str) -> Any:
    """Return a text as a JSON or Python value, or as it is; 1e3 is an integer."""
    for read in (json.loads, literal_eval):
        with suppress(ValueError, SyntaxError, TypeError):
            value = read(text)
            json.dumps(value)  # raises for what only Python has
            return int(value) if isinstance(value, float) and value.is_integer() else value
    return text


def volumes_of(experiment: Experiment, profile: str) -> tuple[tuple[float, float, float], str]:
    """Return the spacing of the prepared volumes of an experiment, and SET of the notebook that prepares them.

    The spacing is ångström per voxel along z, y, x; SET is "" for the volumes that all networks of a profile share. 2D
    networks skip slices of volumes that are as fine along z as along y.
    """
    wanted = (experiment.spacing[1], *experiment.spacing[1:]) if experiment.is_2d else experiment.spacing
    shared = wanted == of("resnext50", profile).spacing
    return wanted, "" if shared else f"spacing={json.dumps(wanted, separators=(',', ':'))}"


def training_notebook(experiment: Experiment) -> str:
    """Return the notebook that trains an experiment; raises ValueError if its encoder is of an unknown kind."""
    for pattern, notebook in NOTEBOOKS.items():
        if re.match(pattern, experiment.encoder):
            return notebook
    raise ValueError(f"encoder {experiment.encoder!r} must begin with smp/, x3d/, slices/ or timm/: correct it")


def chosen(notebook: str, profile: str, name: str, settings: str = "", **own: Any) -> Experiment:
    """Return the experiment `name` in the size of `profile` with changed `settings`, for a training notebook.

    `own` are settings that are parameters of the notebook: seed, fold, checkpointing.

    Raises ValueError if there is no such experiment, another notebook trains it, or settings are invalid.
    """
    experiment = change(of(name, profile), settings)
    if (trains := training_notebook(experiment)) != notebook:
        raise ValueError(f"{notebook} does not train {name}, whose encoder is {experiment.encoder}: use {trains}")
    return replace(experiment, **own)
