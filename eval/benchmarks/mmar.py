"""MMAR (Ma et al. 2025, arXiv 2505.13032; github.com/ddlBoJack/MMAR).

`thinking`, `cue` and `rubric` give the answer away, `url` and `timestamp` the clip: no item has them.
"""

from lalm_agent.eval.benchmarks.rows import CATEGORIES, Layout
from lalm_agent.eval.items import MODALITY

FILE = "MMAR-meta.jsonl"
SOURCE = "github.com/ddlBoJack/MMAR"

MMAR = Layout(
    audio=("audio_path",),
    groups=((MODALITY, ("modality",)), *CATEGORIES, ("language", ("language",))),
    required=(MODALITY,),
    id_names_clip=True,
    ignored=("source", "url", "timestamp", "thinking", "cue", "rubric", "answer_prediction", "thinking_prediction"),
    known={
        "1c9a343e7bebf1037482b935c54eacd43cc63df7b2c668724b5560caf1f84fad": (
            "MMAR-meta.jsonl, github.com/ddlBoJack/MMAR at 3bce090a"
        )
    },
)
