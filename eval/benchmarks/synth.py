"""The project's own synthetic benchmark, as `lalm_agent.training.synth.benchmark` writes it.

`content` is a reference transcript or caption.
"""

from lalm_agent.eval.benchmarks.mmau import MMAU
from lalm_agent.eval.benchmarks.rows import ANSWERABLE, Layout
from lalm_agent.eval.items import MODALITY

_GROUPS = (ANSWERABLE, "seen", "skill", "level", "family")
SYNTH = Layout(
    content=("content",),
    groups=(*MMAU.groups, *zip(_GROUPS, zip(_GROUPS, strict=True), strict=True)),  # each under its own name
    required=(MODALITY, ANSWERABLE),
    has_answerable=True,
    ignored=("split", "seed"),
    file="questions.json",
    source="`lalm-agent data synth --out DIR`",
)
