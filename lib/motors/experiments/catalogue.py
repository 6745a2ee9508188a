"""The networks of the project, each with everything that decides it, by name."""

from motors.experiments.config import Experiment
from motors.experiments.demo import (
    COAT_MEDIUM_DEMO,
    COAT_MEDIUM_SMOKE,
    DENSENET121_DEMO,
    DENSENET121_SMOKE,
    EFFICIENTNET_LITE0_DEMO,
    EFFICIENTNET_LITE0_SMOKE,
    MAXVIT_TINY_DEMO,
    MAXVIT_TINY_SMOKE,
    RESNEXT50_DEMO,
    RESNEXT50_SMOKE,
    X3D_M_DEMO,
    X3D_M_SMOKE,
)
from motors.experiments.original import COAT_MEDIUM, DENSENET121, MAXVIT_TINY, RESNEXT50, X3D_M
from motors.experiments.others import EFFICIENTNET_LITE0, OTHERS

EXPERIMENTS: dict[str, Experiment] = {
    experiment.name: experiment
    for experiment in (
        *(RESNEXT50, DENSENET121, X3D_M, MAXVIT_TINY, COAT_MEDIUM),
        *(RESNEXT50_DEMO, DENSENET121_DEMO, X3D_M_DEMO, MAXVIT_TINY_DEMO, COAT_MEDIUM_DEMO),
        *(EFFICIENTNET_LITE0, EFFICIENTNET_LITE0_DEMO, EFFICIENTNET_LITE0_SMOKE),
        *(RESNEXT50_SMOKE, DENSENET121_SMOKE, X3D_M_SMOKE, MAXVIT_TINY_SMOKE, COAT_MEDIUM_SMOKE),
        *OTHERS,
    )
}


def get(name: str) -> Experiment:
    """Return the experiment called `name`.

    Raises
    ------
    ValueError
        If there is none; the message lists those there are.
    """
    if name not in EXPERIMENTS:
        raise ValueError(f"no experiment is called {name!r}: choose one of {', '.join(sorted(EXPERIMENTS))}")
    return EXPERIMENTS[name]


def of(family: str, profile: str) -> Experiment:
    """Return the experiment of a network `family` in a `profile`: "full" is the original, others are shrunk."""
    return get(family if profile == "full" else f"{family}_{profile}")
