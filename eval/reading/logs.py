"""Logs of other harnesses and rows with other keys, as rows of one's own layout (`OWN`), and the reply in a row.

    lmms-eval        *_samples_TASK.jsonl of `--log_samples`; lm-eval's have the same keys
    evalscope        predictions/MODEL/*.jsonl and reviews/MODEL/*.jsonl; only reviews know the right answers, so one
                     beside the predictions is read with them
    VLMEvalKit       MODEL_DATASET.xlsx, .tsv or .json: `index`, `question`, `A`, `B`, …, `answer`, `prediction`
    rows             anything else with a reply, and the choices and the right answer under a usual key

Where a log has no list of choices they are read from the prompt. A letter as the right answer becomes the choice that
it stands for. What the model said is taken before the filters of a harness. A missing key and null are no reply
(`failed`), an empty text is a reply that cannot be read (`unparsed`); CSV has no null, its empty cell is an empty text.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lalm_agent.errors import DataError
from lalm_agent.eval.benchmarks.files import Row, read_data_file
from lalm_agent.eval.benchmarks.labels import is_label, right_choice, split_prompt, unlabelled
from lalm_agent.eval.benchmarks.layouts import OWN
from lalm_agent.eval.benchmarks.rows import Layout, listed
from lalm_agent.eval.grade import Output

KEYS = ("model_output", "model_prediction", "answer_prediction")
"""Keys of replies: MMAU's script reads the first, its README names the second; the third is MMAR's."""
USUAL_KEYS = (
    *("prediction", "predicted_answer", "pred", "response", "model_response", "output", "reply", "model_answer"),
    *("generation", "generated_text", "completion"),
)
"""Read where none of `KEYS` is there."""
ROWS = "rows with usual keys"
REPLY = "model_output"
NO_QUESTION = "(not in the log)"
CHOICES_KEYS = ("choices", "options", "candidates", "multi_choice", "choice_list")
GOLD_KEYS = (
    *("answer", "gold", "label", "target", "gt", "answer_gt", "gt_answer", "ground_truth", "gold_answer"),
    *("correct_answer", "correct_choice", "reference_answer", "reference", "solution"),
)
CLIP_KEYS = (*OWN.audio, "audio_file", "wav", "wav_path", "clip", "image_path", "video")
QUESTION_KEYS = (*OWN.question, "prompt", "input", "query", "problem")
ID_KEYS = (*OWN.id, "index", "idx", "uid", "sample_id", "doc_id")

LAYOUT = replace(OWN, numbered=True, groups=tuple((name, (name,)) for name, _ in OWN.groups))
"""Of the rows made here: each with an id, a clip, a question, and groups under their own names."""

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
ABSENT = object()  # a null is a value
_GIVE_CHOICES = "name their key: --choices-key NAME; or give the questions: --benchmark NAME --data FILE"


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys that the caller named, `a.b` for nested ones; None leaves it to the layout."""

    reply: str | None = None
    choices: str | None = None
    gold: str | None = None


@dataclass(frozen=True, slots=True)
class Log:
    """A layout.

    as_own: a row of it with the keys of `LAYOUT`. prepared: for a file, what adds to a row what lies elsewhere.
    hint: what to do where there is no right answer.
    """

    name: str
    is_row: Callable[[Row], bool]
    as_own: Callable[[Row], Row]
    prepared: Callable[[Path], Callable[[Row], Row]] = lambda path: lambda row: row
    hint: str = ""


# --- replies ---------------------------------------------------------------------------------------------------------


def output_of(row: Mapping[str, Any], id: str, key: str | None = None) -> Output:
    """The reply in a row of JSON or CSV to the question of an id.

    key: the one key to read; by default whichever of `KEYS` is there, else of `USUAL_KEYS`.

    Raises DataError: two of the keys hold different texts, a value is no text, a confidence is none.
    """
    texts = {name: text for name, value in _replies(row, key).items() if (text := _reply(value, name)) is not None}
    if len(set(texts.values())) > 1:
        raise DataError(f"{' and '.join(texts)} differ", f"say which counts, such as --reply-key {next(iter(texts))}")
    text = next(iter(texts.values()), None)
    sha256, withheld = row.get("audio_sha256") or None, row.get("withheld") is True
    return Output(id, text, _confidence(row.get("confidence")), audio_sha256=sha256, withheld=withheld)


def has_key(row: Mapping[str, Any], key: str | None = None) -> bool:
    """Whether there is a key for a reply at all, with or without a value."""
    return bool(_replies(row, key))


def _replies(row: Mapping[str, Any], key: str | None) -> dict[str, Any]:
    names = (key,) if key is not None else KEYS if any(name in row for name in KEYS) else USUAL_KEYS
    return {name: value for name in names if (value := value_at(row, name)) is not ABSENT}


def value_at(row: Mapping[str, Any], key: str) -> Any:
    """The value of a key, or of a path into nested objects such as `doc.answer`; `ABSENT` where there is none."""
    if key in row:
        return row[key]
    first, _, rest = key.partition(".")
    inner = row.get(first)
    return value_at(inner, rest) if rest and isinstance(inner, Mapping) else ABSENT


def _reply(value: object, key: str) -> str | None:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return str(value)
    raise DataError(f"`{key}` is neither a text nor null", "write it as one text, or name another key: --reply-key")


def _confidence(value: object) -> float | None:
    if value is None or value == "":
        return None
    try:
        number = float(str(value))
    except ValueError:
        number = math.inf
    if math.isnan(number):
        return None
    if isinstance(value, bool) or not 0 <= number <= 1:
        raise DataError(f"the confidence {str(value)[:40]!r} is no number from 0 to 1", "give a probability, or null")
    return number


# --- rows ------------------------------------------------------------------------------------------------------------


def completed(own: Row, row: Row, keys: Keys, layout: Layout = LAYOUT) -> Row:
    """A row of one's own layout with the keys that the caller named, and a letter answer as the choice it stands for.

    Raises DataError: the row has no such key, or its right answer is a letter and there are no choices.
    """
    choices_key, gold_key = layout.choices[0], layout.answer[0]
    for own_key, key in ((choices_key, keys.choices), (gold_key, keys.gold)):
        if key is not None:
            value = value_at(row, key)
            if value is ABSENT:
                raise DataError(f"no key {key!r}", f"the keys here are {', '.join(row)}")
            own = own | {own_key: value}
    answer = next((own[key] for key in layout.answer if own.get(key) is not None), None)
    choices = _texts(next((own[key] for key in layout.choices if own.get(key)), None))
    if not isinstance(answer, str):
        return own
    if choices:
        means = right_choice(answer, unlabelled(choices) or choices, by_label=True)
        return own | {choices_key: list(choices)} | ({gold_key: means} if means is not None else {})
    if is_label(answer) and keys.choices is None and layout is LAYOUT:
        raise DataError(f"the right answer is {answer!r}, and no choices are found", _GIVE_CHOICES)
    return own


def usual_row(row: Row, line: int, keys: Keys) -> Row:
    """A row whose keys are any of the usual ones, as a row of one's own layout but for the reply; its id may be None.

    Raises DataError: two keys may hold the right answer and disagree, or the reply and the right answer cannot be told
    apart.
    """
    id = _first(row, ID_KEYS, _label)
    choices = _choices(row)
    prompts = [prompt for key in QUESTION_KEYS if (prompt := _prompt(row.get(key)))] or [NO_QUESTION]
    question = prompts[0]
    if not choices:
        question, choices = next((split for prompt in prompts if (split := split_prompt(prompt))[1]), (question, ()))
    gold = None if keys.gold else _usual_gold(row, choices, keys)
    own = base(row, id or str(line))
    return own | {"id": id, "question": question or NO_QUESTION, "choices": list(choices), "answer": gold}


def _usual_gold(row: Row, choices: tuple[str, ...], keys: Keys) -> str | None:
    texts = {key: text for key in GOLD_KEYS if key != keys.reply and (text := _label(row.get(key)))}
    other = next((key for key in texts if key != "answer"), None)
    if keys.reply is None and "answer" in texts and other and not any(key in row for key in (*KEYS, *USUAL_KEYS)):
        raise DataError(
            f"`answer` and `{other}` are there, and no key that is surely the reply",
            f"say which is which, such as --reply-key answer --gold-key {other}",
        )
    contents = unlabelled(choices) or choices
    means = {key: right_choice(text, contents, by_label=True) if contents else text for key, text in texts.items()}
    read = {key: text for key, text in means.items() if text is not None}
    if len(set(read.values())) > 1:
        hint = f"say which is right: --gold-key {next(iter(read))}"
        raise DataError(f"{' and '.join(read)} say different answers", hint)
    return next(iter((read or texts).values()), None)


def base(row: Mapping[str, Any], clip: str) -> Row:
    """A row with the groups that are plain values and with its clip, or what stands for it where none is named."""
    own: Row = {name: value for name, keys in OWN.groups if (value := _first(row, keys, _label))}
    own |= {key: row[key] for key in ("answerable", "confidence", "audio_sha256", "withheld") if key in row}
    return own | {"audio": _first(row, CLIP_KEYS, _clip) or clip}


def with_question(own: Row, doc: Mapping[str, Any], prompt: str, gold: object) -> Row:
    """The row with its question, choices and right answer: from the document, else from the prompt."""
    stem, in_prompt = split_prompt(prompt)
    question = _first(doc, OWN.question, _prompt) or stem or NO_QUESTION
    if isinstance(gold, list) and len(gold) == 1:
        gold = gold[0]
    return own | {"question": question, "choices": list(_choices(doc) or in_prompt), "answer": _label(gold)}


def _choices(row: Mapping[str, Any]) -> tuple[str, ...]:
    listing = next((texts for key in CHOICES_KEYS if (texts := _texts(row.get(key)))), ())
    columns = tuple(itertools.takewhile(bool, (_label(row.get(letter)) or "" for letter in _LETTERS)))
    return listing or (columns if len(columns) > 1 else ())


def _texts(value: object) -> tuple[str, ...]:
    """A list of choices, as a list, as an object {"A": …}, or as text that holds a list; () for anything else."""
    if isinstance(value, str) and value.strip().startswith(("[", "{")):
        value = listed(value)
    if isinstance(value, dict):
        value = [value[key] for key in sorted(value)] if set(value) == set(_LETTERS[: len(value)]) else ()
    if not isinstance(value, list | tuple):
        return ()
    texts = [_label(choice) for choice in value]
    return tuple(text for text in texts if text is not None) if None not in texts else ()


def _label(value: object) -> str | None:
    """A text or a number as text; None for what is neither, and for NaN, as tables have it in empty cells."""
    if isinstance(value, str):
        return value
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        return None
    return str(int(value)) if float(value).is_integer() else str(value)


def _clip(value: object) -> str | None:
    return _label(value.get("path")) if isinstance(value, dict) else value if isinstance(value, str) else None


def _first(row: Mapping[str, Any], keys: Iterable[str], read: Callable[[object], str | None]) -> str | None:
    return next((text for key in keys if (text := read(row.get(key)))), None)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _prompt(value: object) -> str:
    """The text of a prompt or message: a text, parts with `text`, messages with `content`, lists of these."""
    return "\n".join(_pieces(value))


def _pieces(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _pieces(part)
    elif isinstance(value, dict):
        yield from _pieces(value.get("content", value.get("text", value.get("arg_0", value.get("gen_args_0")))))


# --- harnesses -------------------------------------------------------------------------------------------------------


def _lmms(row: Row) -> Row:
    """`doc` is left out of newer logs; a metric may hold a copy of it, as MMAU's `submission` does."""
    inner = [value for value in (row.get("doc"), *row.values()) if isinstance(value, dict)]
    doc = next((value for value in inner if _choices(value)), None) or _mapping(row.get("doc"))
    own = base(doc, str(row.get("doc_id", "")))
    own |= {"id": _label(doc.get("id")) or _label(row.get("doc_id")), REPLY: _lmms_reply(row)}
    return with_question(own, doc, _prompt(row.get("input") or row.get("arguments")), row.get("target"))


def _lmms_reply(row: Row) -> object:
    """The first reply before any filter; `resps` is left out where the filter changed nothing."""
    filtered = row.get("filtered_resps")
    if isinstance(filtered, list) and len(filtered) > 1:
        raise DataError("likelihoods of choices and no reply", "rescore reads what a model wrote (generate_until)")
    reply = row.get("resps") or filtered
    while isinstance(reply, list):
        reply = reply[0] if reply else None
    return reply.get("text") if isinstance(reply, dict) else reply


def _evalscope_reviews(path: Path) -> Callable[[Row], Row]:
    """Adds what the review of a prediction knows, where the file with the reviews lies in its usual place."""
    reviews = path.parent.parent.parent / "reviews" / path.parent.name / path.name
    if path.parent.parent.name != "predictions" or not reviews.is_file():
        return lambda row: row
    by_index = {row.get("index"): row for _, row in read_data_file(reviews).rows if isinstance(row, dict)}
    return lambda row: {**row, "review": by_index.get(row.get("index"), {})}


def _evalscope(row: Row, score: Mapping[str, Any], metadata: Mapping[str, Any], reply: object) -> Row:
    own = base(metadata, f"group {score.get('group_id', row.get('index'))}")
    return own | {"id": _label(row.get("index")), REPLY: reply}


def _evalscope_prediction(row: Row) -> Row:
    review = _mapping(row.get("review"))
    score = _mapping(review.get("sample_score"))
    metadata = {**_mapping(score.get("sample_metadata")), **_mapping(row.get("metadata"))}
    messages = row.get("messages")
    of_user = [m for m in messages if _mapping(m).get("role") == "user"] if isinstance(messages, list) else []
    prompt = _prompt(of_user[-1:]) or _prompt(review.get("input"))
    output = _mapping(row.get("model_output"))
    said = [_mapping(choice).get("message") for choice in output.get("choices") or ()][:1]
    reply = _prompt(said) if said and (_prompt(said) or not output.get("error")) else None
    gold = review.get("target", metadata.get("answer"))
    return with_question(_evalscope(row, score, metadata, reply), metadata, prompt, gold)


def _evalscope_review(row: Row) -> Row:
    score = _mapping(row.get("sample_score"))
    metadata = _mapping(score.get("sample_metadata"))
    own = _evalscope(row, score, metadata, _mapping(score.get("score")).get("prediction"))
    return with_question(own, metadata, _prompt(row.get("input")), row.get("target"))


def _vlmeval(row: Row) -> Row:
    reply = row.get("prediction")
    failed = isinstance(reply, str) and reply.startswith("Failed to obtain answer")
    own = base(row, str(row.get("index"))) | {"id": _label(row.get("index")), REPLY: None if failed else reply}
    return with_question(own, row, _prompt(row.get("question")), row.get("answer"))


LOGS = (
    Log("lmms-eval samples", lambda row: {"doc_id", "filtered_resps"} <= row.keys(), _lmms),
    Log("evalscope reviews", lambda row: {"index", "sample_score"} <= row.keys(), _evalscope_review),
    Log(
        "evalscope predictions",
        lambda row: {"index", "model_output", "messages"} <= row.keys() and not isinstance(row["model_output"], str),
        _evalscope_prediction,
        _evalscope_reviews,
        "predictions hold no right answers: give the file of the same name under reviews/",
    ),
    Log("VLMEvalKit predictions", lambda row: {"index", "question", "prediction"} <= row.keys(), _vlmeval),
)
"""A row is of the first whose keys it has."""
