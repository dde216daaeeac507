"""Files of one's own, and the layouts of MMAU and MMAR on the hub (`hf:`): the usual keys of a question."""

from lalm_agent.eval.benchmarks.rows import DIFFICULTY, Layout
from lalm_agent.eval.items import MODALITY

_OWN_GROUPS = "language dataset track hop attribute answerable seen skill level family".split()
_IGNORED = "context other_attributes split seed source donor url timestamp thinking cue rubric".split()
OWN = Layout(
    id=("id", "question_id"),
    audio=("audio", "audio_path", "audio_id", "file", "file_name"),
    question=("question", "instruction"),
    choices=("choices", "options"),
    answer=("answer",),
    content=("content", "transcript", "caption"),
    groups=(
        (MODALITY, ("modality", "task")),
        DIFFICULTY,
        ("category", ("category",)),
        ("sub-category", ("sub-category", "sub_category", "subcategory")),
        *((name, (name,)) for name in _OWN_GROUPS),
    ),
    numbered=True,
    open_questions=True,
    has_answerable=True,
    ignored=(*_IGNORED, "model_output", "model_prediction", "answer_prediction", "thinking_prediction"),
)
