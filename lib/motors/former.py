"""Former names of version 0.1 that still work, and where they are now. The library itself uses none of them."""

from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any

# Names that could be imported from a package, by package: the module that defines them now, and the names; old=new
# if they were renamed.
NAMES = {
    "augment2d": {
        "patches.augment.intensity": "change",
        "patches.augment.slices": "BRIGHTNESS FILL GROUPS RESIZINGS canvas crop move"
        " Draw=Augmentation draw=random_augmentation view=augmented",
    },
    "augment3d": {
        "patches.augment.blocks": "AFFINES GREY RESAMPLINGS move source_map"
        " Draw=Augmentation draw=random_augmentation view=augmented",
        "patches.augment.intensity": "coarsen drop_boxes grey_table regrade",
        "patches.augment.warp": "warp warp_blocks",
    },
    "experiments": {"experiments.catalogue": "EXPERIMENTS get of", "experiments.config": "Experiment"},
    "fusion": {
        "ensemble.combine": "combine fuse_grids WAYS=METHODS",
        "ensemble.select": "answer=detections",
        "ensemble.wbf": "fuse fuse_boxes fuse_points",
        "matching": "best",
    },
    "heatmaps": {"evaluation.baselines": "blobs", "heatmaps": "draw=target_3d draw_planar=target_2d"},
    "inference": {
        "detection.detector": "detect",
        "detection.engine": "heatmap logits",
        "detection.heatmap": "Grid kept=load_heatmaps",
        "detection.queue": "detect_all",
        "detection.tiling": "cell_strides",
    },
    "kaggle": {
        "kaggle.client": "KaggleError",
        "kaggle.competition": "download check_competition=check",
        "kaggle.packages": "RECIPES Package check package packed",
        "kaggle.publishing": "absent kernel listing plan publish push submit",
    },
    "labels": {
        "labels.consensus": "compare describe",
        "labels.external": "gather read_external read_native",
        "labels.formats": "read read_competition write write_competition wrong_counts",
        "labels.joining": "additions join",
        "labels.wide": "read_wide to_wide",
        "labels.table": "Labels",
        "matching": "nearest_pairs",
        "tables": "MOTORS MOTOR_AXES NO_MOTOR POINT SIZE TOMOGRAMS need numbers read_table refuse",
    },
    "networks": {
        "networks.checkpoints": "convert load save",
        "networks.factory": "build channels_last",
        "networks.weights": "fill",
    },
    "review": {
        "labels.folds": "kind parts",
        "review.corrections": "CORRECTIONS apply read_corrections",
        "review.decisions": "DECISIONS read_decisions read_tags",
        "review.disagreements": "ENTRIES match verdicts",
        "review.sheets": "write_images write_sheet draw=picture sheet",
        "review.simulated": "answer=decide spoil",
        "review.widget": "Reviewer",
    },
    "scoring": {
        "evaluation.cross_validation": "choose_quantile",
        "evaluation.curves": "curve f2_by_quantile precision_recall"
        " average_precision=pr_auc partial_average_precision=partial_pr_auc",
        "evaluation.metrics": "bootstrap f2 verdicts",
        "labels.table": "solution",
        "tables": "SOLUTION",
    },
    "submission": {"kaggle.submission": "frame hand_in read_and_validate validate write"},
    "volumes": {
        "kaggle.competition": "incomplete",
        "volumes.formats": "read",
        "volumes.levels": "to_uint8 unwrap",
        "volumes.mrc": "write_mrc",
        "volumes.prepared": "open_prepared write_prepared",
        "volumes.quality_control": "Finding examine examine_histogram findings histogram note repair",
        "volumes.resampling": "resample",
        "volumes.slices": "slice_paths stack_shape write_slices",
        "volumes.tomogram": "Tomogram",
    },
    "workspace": {
        "pipeline.reproduce": "keep reproduce",
        "pipeline.runner": "Refused run",
        "workspace.files": "sha256 write_json write_table",
        "workspace.paths": "Run Workspace dataset find new_dataset open_run",
        "workspace.provenance": "commit versions",
    },
}


def names_of(package: str) -> Callable[[str], Any]:
    """Return the `__getattr__` of a package such as "motors.volumes": it finds the package's former names."""
    room = package.partition(".")[2]
    homes: dict[str, tuple[str, str]] = {}
    for module, names in NAMES[room].items():
        for old, _, new in (name.partition("=") for name in names.split()):
            homes[old] = module, new or old

    def look_up(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        home, now = homes[name]
        return getattr(import_module(f"motors.{home}"), now)

    return look_up


def package(name: str) -> ModuleType:
    """Return a stand-in for a package that has been renamed."""
    stand_in = ModuleType(f"motors.{name}", f"Former name; see {', '.join(NAMES[name])}.")
    stand_in.__getattr__ = names_of(f"motors.{name}")
    return stand_in
