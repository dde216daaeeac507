"""What the keys of MMAU, MMAR, the synthetic benchmark and files of one's own mean."""

from lalm_agent.eval.benchmarks.rows import ANSWERABLE, Layout
from lalm_agent.eval.items import MODALITY

_CATEGORIES = (("category", ("category",)), ("sub-category", ("sub-category",)))
_DIFFICULTY = ("difficulty", ("difficulty",))

# github.com/Sakshi113/MMAU. `task` is the modality; predictions of the official script stand in the same objects.
MMAU = Layout(
    groups=((MODALITY, ("task",)), _DIFFICULTY, *_CATEGORIES, ("dataset", ("dataset",))),
    required=(MODALITY,),
    id_names_clip=True,
    ignored=("split", "model_output", "model_prediction"),
)

# github.com/ddlBoJack/MMAR. `thinking`, `cue` and `rubric` give the answer away; `url` and `timestamp` the clip.
MMAR = Layout(
    audio=("audio_path",),
    groups=((MODALITY, ("modality",)), *_CATEGORIES, ("language", ("language",))),
    required=(MODALITY,),
    id_names_clip=True,
    ignored=("source", "url", "timestamp", "thinking", "cue", "rubric", "answer_prediction", "thinking_prediction"),
)

# lalm_agent.training.synth.benchmark writes it; `content` is a reference transcript or caption.
SYNTH = Layout(
    content=("content",),
    groups=(
        *MMAU.groups,
        *((name, (name,)) for name in (ANSWERABLE, "seen", "skill", "level", "family")),
    ),
    required=(MODALITY, ANSWERABLE),
    has_answerable=True,
    ignored=("split", "seed"),
)

# One's own files, and the layouts of MMAU and MMAR on the hub (`hf:`).
_OWN_GROUPS = "language dataset track hop attribute answerable seen skill level family".split()
OWN = Layout(
    id=("id", "question_id"),
    audio=("audio", "audio_path", "audio_id", "file", "file_name"),
    question=("question", "instruction"),
    choices=("choices", "options"),
    answer=("answer",),
    content=("content", "transcript", "caption"),
    groups=(
        (MODALITY, ("modality", "task")),
        _DIFFICULTY,
        ("category", ("category",)),
        ("sub-category", ("sub-category", "sub_category", "subcategory")),
        *((name, (name,)) for name in _OWN_GROUPS),
    ),
    numbered=True,
    open_questions=True,
    has_answerable=True,
    ignored=(
        *("context", "other_attributes", "split", "seed", "source", "url", "timestamp", "thinking", "cue", "rubric"),
        *("model_output", "model_prediction", "answer_prediction", "thinking_prediction"),
    ),
)
