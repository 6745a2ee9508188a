"""Labels corrected by review: where networks and labels disagree, what somebody decided, and the labels after that."""

from motors.review.corrections import CORRECTIONS, apply, corrections, read_corrections
from motors.review.decisions import DECISIONS, read_decisions, read_tags
from motors.review.matching import ENTRIES, kind, match, parts, verdicts
from motors.review.sheet import draw, sheet, write_images, write_sheet
from motors.review.simulated import answer, spoil
from motors.review.widget import Reviewer

__all__ = [
    "CORRECTIONS",
    "DECISIONS",
    "ENTRIES",
    "Reviewer",
    "answer",
    "apply",
    "corrections",
    "draw",
    "kind",
    "match",
    "parts",
    "read_corrections",
    "read_decisions",
    "read_tags",
    "sheet",
    "spoil",
    "verdicts",
    "write_images",
    "write_sheet",
]
