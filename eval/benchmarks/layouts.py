"""Every layout of one question a row, as a table: which keys mean what, and what is known of the published files.

What is said here of a layout was read off the publishers' own scripts and cards; what could not be seen:

- mmsu (arXiv 2506.04779): the card names the columns and the official script the keys, among them `audio_path`. No row
  was seen, so whether a question with two choices has null, an empty text or no key for the others is not known.
- mmau-pro (arXiv 2508.13992): the columns, and the numbers of open, instruction-following and multi-clip rows, are
  those of readers of `test.parquet`. Instruction-following rows have no answer; their rule stands in `task_identifier`
  and `kwargs`. Whether the instruction is also in the question's text was not seen.
- adqa: keys of `dev.jsonl` as readers of the challenge's set have them; it names no modality. The evaluation set has no
  answers and is refused row by row.
- air-bench (arXiv 2402.07729): keys and folders of the official `Inference_Foundation.py`. Clips lie in
  `{task_name}_{dataset_name}/`, those of `Audio_Grounding` as FLAC whatever their name says. The modality is read off
  the task's name. The README says about 19,000 questions; evalscope counts 21,426.
- voicebench (arXiv 2410.17196): `openbookqa` and `mmsu`, whose clip speaks the question and its choices. Here the model
  is also shown the choices, but never `prompt`, what is spoken: the transcript, for the oracle of a node attribution.
  VoiceBench itself shows nothing. `mmsu` here is spoken MMLU-Pro, and no part of the benchmark MMSU.
- aqua (arXiv 2601.12248): files and SHA-256 of the repository; the families come in fours about one clip. The right
  answer of the three unanswerable families is a choice, always the last. Clips are named from the source sets'
  parent folder, by the last three parts of what the files say.

Keys that give an answer away, such as MMAR's `thinking`, `cue` and `rubric`, reach no item.
"""

from dataclasses import replace
from pathlib import PurePosixPath

from lalm_agent.eval.benchmarks.files import Row
from lalm_agent.eval.benchmarks.labels import split_prompt
from lalm_agent.eval.benchmarks.rows import ANSWERABLE, Layout
from lalm_agent.eval.items import MODALITY

_CATEGORIES = (("category", ("category",)), ("sub-category", ("sub-category",)))
_DIFFICULTY = ("difficulty", ("difficulty",))
_LETTERED = ("choice_a", "choice_b", "choice_c", "choice_d")
_REPLIES = ("model_output", "model_prediction", "answer_prediction", "thinking_prediction")

MMAU = Layout(
    groups=((MODALITY, ("task",)), _DIFFICULTY, *_CATEGORIES, ("dataset", ("dataset",))),
    required=(MODALITY,),
    id_names_clip=True,
    ignored=("split", "model_output", "model_prediction"),
    file="mmau-test-mini.json",
    source="github.com/Sakshi113/MMAU",
    title="MMAU test-mini",
    size="1,000",
    licence="Apache-2.0",
)
MMAR = Layout(
    audio=("audio_path",),
    groups=((MODALITY, ("modality",)), *_CATEGORIES, ("language", ("language",))),
    required=(MODALITY,),
    id_names_clip=True,
    ignored=("source", "url", "timestamp", "thinking", "cue", "rubric", "answer_prediction", "thinking_prediction"),
    file="MMAR-meta.jsonl",
    source="github.com/ddlBoJack/MMAR",
    title="MMAR",
    size="1,000",
    licence="none in the repository; CC BY-NC 4.0 on the hub",
)
_SYNTH_GROUPS = (ANSWERABLE, "seen", "skill", "level", "family")
SYNTH = replace(
    MMAU,
    content=("content",),
    groups=(*MMAU.groups, *zip(_SYNTH_GROUPS, zip(_SYNTH_GROUPS, strict=True), strict=True)),  # under their own names
    required=(MODALITY, ANSWERABLE),
    has_answerable=True,
    id_names_clip=False,
    ignored=("split", "seed"),
    file="questions.json",
    source="`lalm-agent data synth --out DIR`",
    title="the project's own synthetic benchmark",
    size="any",
    licence="as this package",
)
_OWN_GROUPS = "language dataset track hop attribute answerable seen skill level family".split()
_OWN_IGNORED = "context other_attributes split seed source donor url timestamp thinking cue rubric".split()
OWN = Layout(
    id=("id", "question_id"),
    audio=("audio", "audio_path", "audio_id", "file", "file_name"),
    question=("question", "instruction"),
    choices=("choices", "options"),
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
    ignored=(*_OWN_IGNORED, *_REPLIES),
)
"""Files of one's own, and the layouts of MMAU and MMAR on the hub (`hf:`): the usual keys of a question."""

MMSU = Layout(
    audio=("audio_path", "audio"),
    choice_keys=_LETTERED,
    answer=("answer_gt",),
    groups=(
        *(*_CATEGORIES, ("sub-sub-category", ("sub-sub-category",)), ("task", ("task_name",))),
        ("discipline", ("linguistics_sub_discipline",)),
    ),
    fixed=((MODALITY, "speech"),),
    ignored=("response",),
    file="mmsu.jsonl",
    source="huggingface.co/datasets/ddwang2000/MMSU: its parquet files, or rows in the form of mmsu_inference.py",
    title="MMSU",
    size="5,000",
    licence="MIT",
)
MMAU_PRO = Layout(
    audio=("audio_path",),
    answer=("answer", "task_identifier"),
    content=("transcription",),
    groups=(
        *(("category", ("category",)), ("sub-category", ("sub-cat",)), ("length", ("length_type",))),
        *(("perceptual skills", ("perceptual_skills",)), ("reasoning skills", ("reasoning_skills",))),
    ),
    open_questions=True,
    constraint=("task_identifier", "kwargs"),
    ignored=("task_classification", "model_output"),
    file="test.parquet",
    source="huggingface.co/datasets/gamma-lab-umd/MMAU-Pro",
    title="MMAU-Pro",
    size="5,305, of which 215 open, 87 on following instructions, 456 with several clips",
    licence="CC BY-NC 4.0",
)
ADQA = Layout(
    audio=("audio_path",),
    question=("question_text",),
    choices=("multi_choice",),
    groups=(("dataset", ("source_dataset",)), ("question type", ("question_type",))),
    file="dev.jsonl",
    source="huggingface.co/datasets/Harland/DCASE2026-Task5-DevSet",
    title="ADQA, DCASE 2026 task 5, development set",
    size="1,607",
    licence="Apache-2.0",
)


def air_bench_row(row: Row) -> Row:
    """The row with the clip's path under `Foundation/` and the modality of its task."""
    task, dataset, path = (row.get(key) for key in ("task_name", "dataset_name", "path"))
    if not (isinstance(task, str) and isinstance(dataset, str) and isinstance(path, str)):
        return row
    place = PurePosixPath(f"{task}_{dataset}") / path
    kinds = {"music": "music", "acoustic": "sound", "audio": "sound", "sound": "sound", "vocal": "sound"}
    modality = kinds.get(task.split("_")[0].casefold(), "speech")
    clip = f"{str(place).removesuffix(place.suffix)}.flac" if task == "Audio_Grounding" else str(place)
    return {**row, "clip": clip, MODALITY: modality}


AIR_BENCH = Layout(
    id=("uniq_id",),
    audio=("clip",),
    choice_keys=_LETTERED,
    answer=("answer_gt",),
    groups=((MODALITY, (MODALITY,)), ("task", ("task_name",)), ("dataset", ("dataset_name",))),
    prepare=air_bench_row,
    ignored=("path", "response"),
    file="Foundation_meta.json",
    source="huggingface.co/datasets/qyang1021/AIR-Bench-Dataset, its folder Foundation",
    title="AIR-Bench, foundation",
    size="about 19,000",
    licence="Apache-2.0",
)


def voicebench_row(row: Row) -> Row:
    """The row with the choices that the clip speaks, and a question that sends the model to the clip."""
    prompt = row.get("prompt")
    if not isinstance(prompt, str):
        return row
    question = "Which choice answers the question that is asked in the clip?"
    subject = row.get("category")
    number = row.get("question_id")
    key = None if number is None else f"{subject}/{number}"
    return {**row, "question": question, "choices": list(split_prompt(prompt)[1]), "key": key}


VOICEBENCH = Layout(
    id=("key",),
    audio=("audio", "audio_path"),
    answer=("reference",),
    answer_is_letter=True,
    content=("prompt",),
    groups=(("category", ("category",)),),
    fixed=((MODALITY, "speech"),),
    prepare=voicebench_row,
    numbered=True,
    ignored=("question_id", "src", "response", "cot_content", "answer_index", "options"),
    file="voicebench.jsonl",
    source="huggingface.co/datasets/hlt-lab/voicebench, its folder openbookqa or mmsu",
    title="VoiceBench, multiple choice: openbookqa, mmsu",
    size="455; 3,074",
    licence="Apache-2.0",
)
_AQUA_TRACKS = {
    "ESC-50-master": ("animal", "sound"),
    "music_dataset": ("instrument", "music"),
    "vocalsound_16k": ("vocal", "sound"),
}


def aqua_row(row: Row) -> Row:
    """The row without the choices in its question, with its track, and a clip named from the source sets' parent."""
    question, file = row.get("question"), row.get("audio_filename")
    if not (isinstance(question, str) and isinstance(file, str)):
        return row
    clip = "/".join(PurePosixPath(file).parts[-3:])
    folder = clip.partition("/")[0]
    track, modality = _AQUA_TRACKS.get(folder, (folder, "sound"))
    stem, _ = split_prompt(question)
    known = {"stem": stem, "clip": clip, "track": track, MODALITY: modality}
    return {**row, **known, "key": f"{track}/{row.get('id')}"}


AQUA = Layout(
    id=("key",),
    audio=("clip",),
    question=("stem",),
    choices=("options",),
    groups=((MODALITY, (MODALITY,)), ("track", ("track",)), ("family", ("type",)), ("subtype", ("subtype",))),
    required=("family",),
    prepare=aqua_row,
    ignored=(
        *("id", "question", "audio_filename", "audio_id", "audio_verb", "question_verb", "audio_animal"),
        *("audio_vocal", "response"),
    ),
    file="AQUA-Bench-Animal-Sounds-Track.json",
    further=("AQUA-Bench-Music-Instruments-Sounds-Track.json", "AQUA-Bench-Vocal-Sounds-Track.json"),
    source="github.com/kuan2jiu99/aqua-bench, its folder evaluation-data",
    title="AQUA-Bench, main",
    size="4,320 in 4 families of 3 tracks; three further wordings in files of their own",
    licence="none in the repository",
)
LAYOUTS = {
    "mmau": MMAU,
    "mmar": MMAR,
    "synth": SYNTH,
    "mmsu": MMSU,
    "mmau-pro": MMAU_PRO,
    "adqa": ADQA,
    "air-bench": AIR_BENCH,
    "voicebench": VOICEBENCH,
    "aqua": AQUA,
}
"""Benchmark's name -> its layout. SAKURA, whose rows have two questions each, is `sakura`'s own."""
_TELLING = {
    "mmsu": {"choice_a", "answer_gt", "linguistics_sub_discipline"},
    "mmau-pro": {"audio_path", "perceptual_skills", "task_identifier"},
    "adqa": {"question_text", "multi_choice"},
    "voicebench": {"prompt", "reference", "audio"},
}


def layout_of(columns: frozenset[str]) -> Layout:
    """The layout of a data set of the hub by its columns: one of those above where it can be no other, else `OWN`."""
    return next((LAYOUTS[name] for name, telling in _TELLING.items() if telling <= columns), OWN)
