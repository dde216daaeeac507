"""MMAU (Sakshi et al. 2024, arXiv 2410.19168; github.com/Sakshi113/MMAU).

`task` is the modality; predictions of the official script stand in the same objects.
"""

from lalm_agent.eval.benchmarks.rows import CATEGORIES, DIFFICULTY, Layout
from lalm_agent.eval.items import MODALITY

MMAU = Layout(
    groups=((MODALITY, ("task",)), DIFFICULTY, *CATEGORIES, ("dataset", ("dataset",))),
    required=(MODALITY,),
    id_names_clip=True,
    ignored=("split", "model_output", "model_prediction"),
    file="mmau-test-mini.json",
    source="github.com/Sakshi113/MMAU",
)
