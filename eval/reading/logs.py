"""Logs of other harnesses and rows with other keys, as rows of one's own layout (`OWN`).

    lmms-eval        *_samples_TASK.jsonl of `--log_samples`; lm-eval's have the same keys
    evalscope        predictions/MODEL/*.jsonl and reviews/MODEL/*.jsonl; only reviews know the right answers, so one
                     beside the predictions is read with them
    VLMEvalKit       MODEL_DATASET.xlsx, .tsv or .json: `index`, `question`, `A`, `B`, …, `answer`, `prediction`
    rows             anything else with a reply, and the choices and the right answer under a usual key

Where a log has no list of choices they are read from the prompt. A letter as the right answer becomes the choice that
it stands for. What the model said is taken as it said it, before the filters of a harness. inspect's logs are read by
`inspect_log`.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lalm_agent.errors import DataError
from lalm_agent.eval.benchmarks.files import Row, read_data_file
from lalm_agent.eval.benchmarks.labels import is_label, right_choice, split_prompt, unlabelled
from lalm_agent.eval.benchmarks.own import OWN
from lalm_agent.eval.benchmarks.rows import Layout, listed
from lalm_agent.eval.reading.prediction_rows import KEYS, MISSING, USUAL_KEYS, value_at

ROWS = "rows with usual keys"
REPLY = "model_output"
REPLY_KEYS = (*KEYS, *USUAL_KEYS)
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
_VLMEVAL_FAILED = "Failed to obtain answer"
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


def log_of(row: Row) -> Log | None:
    """The harness whose log a row is from; None for rows of nobody in particular."""
    return next((log for log in LOGS if log.is_row(row)), None)


def completed(own: Row, row: Row, keys: Keys, layout: Layout = LAYOUT) -> Row:
    """A row of one's own layout with the keys that the caller named, and a letter answer as the choice it stands for.

    Raises:
        DataError: the row has no such key, or its right answer is a letter and there are no choices.
    """
    named = {layout.choices[0]: keys.choices, layout.answer[0]: keys.gold}
    found = {own_key: value_at(row, key) for own_key, key in named.items() if key is not None}
    if absent := [named[key] for key, value in found.items() if value is MISSING]:
        raise DataError(f"no key {absent[0]!r}", f"the keys here are {', '.join(row)}")
    own = own | found
    answer = next((own[key] for key in layout.answer if own.get(key) is not None), None)
    choices = _texts(next((own[key] for key in layout.choices if own.get(key)), None))
    if isinstance(answer, str) and choices:
        means = right_choice(answer, unlabelled(choices) or choices, by_label=True)
        return own | {layout.choices[0]: list(choices)} | ({layout.answer[0]: means} if means is not None else {})
    if isinstance(answer, str) and is_label(answer) and keys.choices is None and layout is LAYOUT:
        raise DataError(f"the right answer is {answer!r}, and no choices are found", _GIVE_CHOICES)
    return own


def usual_row(row: Row, line: int, keys: Keys) -> Row:
    """A row whose keys are any of the usual ones, as a row of one's own layout but for the reply; its id may be None.

    Raises:
        DataError: two keys may hold the right answer and disagree, or the reply and the right answer cannot be told
            apart.
    """
    id = _first(row, ID_KEYS, _label)
    choices = _choices(row) or _choices_of_letters(row)
    prompts = [prompt for key in QUESTION_KEYS if (prompt := _prompt(row.get(key)))] or [NO_QUESTION]
    question = prompts[0]
    if not choices:
        question, choices = next((split for prompt in prompts if (split := split_prompt(prompt))[1]), (question, ()))
    gold = None if keys.gold else _usual_gold(row, choices, keys)
    own = base(row, id or str(line))
    return own | {"id": id, "question": question or NO_QUESTION, "choices": list(choices), "answer": gold}


def _usual_gold(row: Row, choices: tuple[str, ...], keys: Keys) -> str | None:
    found = {key: text for key in GOLD_KEYS if key != keys.reply and (text := _label(row.get(key)))}
    if keys.reply is None and len(found) > 1 and "answer" in found and not any(key in row for key in REPLY_KEYS):
        other = next(key for key in found if key != "answer")
        raise DataError(
            f"`answer` and `{other}` are there, and no key that is surely the reply",
            f"say which is which, such as --reply-key answer --gold-key {other}",
        )
    contents = unlabelled(choices) or choices
    means = {key: right_choice(text, contents, by_label=True) if contents else text for key, text in found.items()}
    read = {key: text for key, text in means.items() if text is not None}
    if len(set(read.values())) > 1:
        hint = f"say which is right: --gold-key {next(iter(read))}"
        raise DataError(f"{' and '.join(read)} say different answers", hint)
    return next(iter((read or found).values()), None)


# --- lmms-eval -------------------------------------------------------------------------------------------------------


def _lmms(row: Row) -> Row:
    """`doc` is left out of newer logs; a metric may hold a copy of it, as MMAU's `submission` does."""
    inner = [value for value in (row.get("doc"), *row.values()) if isinstance(value, dict)]
    listing = (value for value in inner if _choices(value) or _choices_of_letters(value))
    doc = next(listing, None) or _mapping(row.get("doc"))
    prompt = _prompt(row.get("input") or row.get("arguments"))
    own = base(doc, str(row.get("doc_id", "")))
    own |= {"id": _label(doc.get("id")) or _label(row.get("doc_id")), REPLY: _lmms_reply(row)}
    return asked(own, doc, prompt, row.get("target"))


def _lmms_reply(row: Row) -> object:
    """The first reply before any filter; `resps` is left out where the filter changed nothing."""
    filtered = row.get("filtered_resps")
    if isinstance(filtered, list) and len(filtered) > 1:
        raise DataError("likelihoods of choices and no reply", "rescore reads what a model wrote (generate_until)")
    reply = row.get("resps") or filtered
    while isinstance(reply, list):
        reply = reply[0] if reply else None
    return reply.get("text") if isinstance(reply, dict) else reply


# --- evalscope -------------------------------------------------------------------------------------------------------


def _evalscope_reviews(path: Path) -> Callable[[Row], Row]:
    """Adds what the review of a prediction knows, where the file with the reviews lies in its usual place."""
    reviews = path.parent.parent.parent / "reviews" / path.parent.name / path.name
    if path.parent.parent.name != "predictions" or not reviews.is_file():
        return lambda row: row
    rows = [row for _, row in read_data_file(reviews).rows if isinstance(row, dict)]
    by_index = {row.get("index"): row for row in rows}
    return lambda row: {**row, "review": by_index.get(row.get("index"), {})}


def _evalscope_prediction(row: Row) -> Row:
    review = _mapping(row.get("review"))
    score = _mapping(review.get("sample_score"))
    metadata = {**_mapping(score.get("sample_metadata")), **_mapping(row.get("metadata"))}
    messages = row.get("messages")
    of_user = [one for one in messages if _mapping(one).get("role") == "user"] if isinstance(messages, list) else []
    prompt = _prompt(of_user[-1:]) or _prompt(review.get("input"))
    output = _mapping(row.get("model_output"))
    said = [_mapping(choice).get("message") for choice in output.get("choices") or ()]
    reply = _prompt(said[:1]) if said and not (output.get("error") and not _prompt(said[:1])) else None
    own = base(metadata, f"group {score.get('group_id', row.get('index'))}")
    own |= {"id": _label(row.get("index")), REPLY: reply}
    return asked(own, metadata, prompt, review.get("target", metadata.get("answer")))


def _evalscope_review(row: Row) -> Row:
    score = _mapping(row.get("sample_score"))
    metadata = _mapping(score.get("sample_metadata"))
    own = base(metadata, f"group {score.get('group_id', row.get('index'))}")
    own |= {"id": _label(row.get("index")), REPLY: _mapping(score.get("score")).get("prediction")}
    return asked(own, metadata, _prompt(row.get("input")), row.get("target"))


# --- VLMEvalKit ------------------------------------------------------------------------------------------------------


def _vlmeval(row: Row) -> Row:
    reply = row.get("prediction")
    failed = isinstance(reply, str) and reply.startswith(_VLMEVAL_FAILED)
    own = base(row, str(row.get("index"))) | {"id": _label(row.get("index")), REPLY: None if failed else reply}
    return asked(own, row, _prompt(row.get("question")), row.get("answer"))


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


# --- parts of rows ---------------------------------------------------------------------------------------------------


def base(row: Mapping[str, Any], clip: str) -> Row:
    """A row with the groups that are plain values and with its clip, or what stands for it where none is named."""
    found: Row = {name: value for name, keys in OWN.groups if (value := _first(row, keys, _label))}
    found |= {key: row[key] for key in ("answerable", "confidence", "audio_sha256") if key in row}
    return found | {"audio": _first(row, CLIP_KEYS, _clip) or clip}


def asked(own: Row, doc: Mapping[str, Any], prompt: str, gold: object) -> Row:
    """The row with its question, choices and right answer: from the document, else from the prompt."""
    stem, in_prompt = split_prompt(prompt)
    choices = _choices(doc) or _choices_of_letters(doc) or in_prompt
    question = _first(doc, OWN.question, _prompt) or stem or NO_QUESTION
    if isinstance(gold, list) and len(gold) == 1:
        gold = gold[0]
    return own | {"question": question, "choices": list(choices), "answer": _label(gold)}


def _choices(row: Mapping[str, Any]) -> tuple[str, ...]:
    return next((found for key in CHOICES_KEYS if (found := _texts(row.get(key)))), ())


def _choices_of_letters(row: Mapping[str, Any]) -> tuple[str, ...]:
    """The columns A, B, C, … as far as they are filled."""
    found = []
    for letter in _LETTERS:
        text = _label(row.get(letter))
        if not text:
            break
        found.append(text)
    return tuple(found) if len(found) > 1 else ()


def _texts(value: object) -> tuple[str, ...]:
    """A list of choices, as a list, as an object {"A": …}, or as text that holds a list; () for anything else."""
    if isinstance(value, str) and value.strip().startswith(("[", "{")):
        value = listed(value)
    if isinstance(value, dict):
        value = [value[key] for key in sorted(value)] if set(value) == set(_LETTERS[: len(value)]) else ()
    if not isinstance(value, list | tuple):
        return ()
    texts = [_label(choice) if choice != "" else "" for choice in value]
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
