"""MMAU (Sakshi et al. 2024, arXiv 2410.19168; github.com/Sakshi113/MMAU).

`task` is the modality; predictions of the official script stand in the same objects.
"""

from lalm_agent.eval.benchmarks.rows import CATEGORIES, DIFFICULTY, Layout
from lalm_agent.eval.items import MODALITY

FILE = "mmau-test-mini.json"
SOURCE = "github.com/Sakshi113/MMAU"

MMAU = Layout(
    groups=((MODALITY, ("task",)), DIFFICULTY, *CATEGORIES, ("dataset", ("dataset",))),
    required=(MODALITY,),
    id_names_clip=True,
    ignored=("split", "model_output", "model_prediction"),
    known={
        "9f18fda99f8dbc2bc5ecd6323fb5063309f54969810b5c6f1caeb3b8d904cf1c": (
            "MMAU test-mini v05.15.25; the paper used an earlier file"
        )
    },
)
