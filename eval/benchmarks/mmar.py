"""MMAR (Ma et al. 2025, arXiv 2505.13032; github.com/ddlBoJack/MMAR).

`thinking`, `cue` and `rubric` give the answer away, `url` and `timestamp` the clip: no item has them.
"""

from lalm_agent.eval.benchmarks.rows import CATEGORIES, Layout
from lalm_agent.eval.items import MODALITY

MMAR = Layout(
    audio=("audio_path",),
    groups=((MODALITY, ("modality",)), *CATEGORIES, ("language", ("language",))),
    required=(MODALITY,),
    id_names_clip=True,
    ignored=("source", "url", "timestamp", "thinking", "cue", "rubric", "answer_prediction", "thinking_prediction"),
    file="MMAR-meta.jsonl",
    source="github.com/ddlBoJack/MMAR",
)
