"""The page that `lalm-agent report` writes: figures, tables, and every question of some runs with its evidence.

One file of HTML that needs no network. Texts of models and files go into it as data and reach the page as text: a
policy in its head lets nothing but the page's own script run.

    index.html    the page. Clips are linked relatively or embedded.
    page.json     the call that made it: `Invocation`. The folder is a report of ours where it is there with the page.
    clips.jsonl   one line a clip that was decoded, with its picture, so that the same command goes on after a kill.
"""

import hashlib
import json
import mimetypes
import os
import re
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

from lalm_agent.answers import parse
from lalm_agent.artefacts import SPEC, Folder, FolderKind, Invocation, Journal, read_lines, write_record, write_whole
from lalm_agent.audio import load
from lalm_agent.errors import DataError, UsageError
from lalm_agent.eval.faithfulness.chains import sentences
from lalm_agent.eval.faithfulness.report import curve_figures
from lalm_agent.eval.faithfulness.report import report_of as faithfulness_report
from lalm_agent.eval.faithfulness.study import read_study
from lalm_agent.eval.grade import OUTCOMES
from lalm_agent.eval.items import Item, audio_file
from lalm_agent.eval.report.figures import CLIP_RATE, PageFigure, clip_png, score_figures
from lalm_agent.eval.report.score import notes, overview, tables_of
from lalm_agent.eval.report.show import ShownQuestion, questions_of_run
from lalm_agent.eval.report.table import as_html, plain
from lalm_agent.eval.runs.folder import is_run
from lalm_agent.eval.runs.records import RunSpec, read_spec
from lalm_agent.eval.scoring.compare import Study
from lalm_agent.eval.scoring.score import ScoreRequest, compared
from lalm_agent.eval.scoring.summary import summarise
from lalm_agent.records import Status
from lalm_agent.registry import install_line, is_installed
from lalm_agent.terminal import ProgressDisplay

PAGE, ABOUT, CLIPS = "index.html", "page.json", "clips.jsonl"
HEATMAP = "heatmap.svg"
"""What `lalm-agent transfer` draws into a study's folder."""
REPORT = FolderKind("report", "is writing", (ABOUT, PAGE), early=(ABOUT, CLIPS, f"{PAGE}.new"))
MOST_SENTENCES, LONGEST_PART = 64, 8
"""So many sentences of a reply, the last ones, are looked through for the part that decides, and so many make it up."""
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class PageRequest:
    """What to report.

    runs: folders of runs, finished or not; the others are compared with the first. study: a folder of `transfer`,
    whose heat map is shown. faithfulness: a folder of `faithfulness`, whose curves are drawn. audio_root: folder of the
    clips; None for where each run found them. embed_mb: so many megabytes of clips, in the order of the questions, are
    written into the page. clip_url: what links to the others begin with, before the clip's name in the data, all of
    it quoted; None links them relatively, as files.
    """

    runs: tuple[Path, ...]
    out: Path
    study: Path | None = None
    faithfulness: Path | None = None
    audio_root: Path | None = None
    embed_mb: float = 0.0
    clip_url: str | None = None


class ReportFolder(Folder):
    """The folder of a report, held by this process alone."""

    kind = REPORT


def write_report(request: PageRequest, tell: Tell = lambda line: None) -> Path:
    """Write the page of some runs into a folder, which may hold an older page; the file.

    tell: told in a line what is left out, and how many clips are not there. Without matplotlib there are no figures.

    Raises:
        UsageError: no run, runs without a common question, or the folder is another process's or holds something else.
        DataError: a run or a study is damaged or none, or the page cannot be written.
    """
    specs = [_spec_of(folder) for folder in request.runs]
    if not specs:
        raise UsageError("a report is made of runs", "lalm-agent report RUN --out report")
    if request.audio_root is not None and not request.audio_root.is_dir():
        raise DataError(f"the audio root {request.audio_root} is no folder", "check the path")
    drawn = is_installed("matplotlib")
    if not drawn:
        tell(f"figures and pictures of clips are left out, because matplotlib draws them: {install_line('draw')}")
    further = list(_further_figures(request, drawn))
    with ReportFolder(request.out) as folder:
        tell(f"scoring {len(specs)} runs")
        study, config = compared(ScoreRequest(request.runs), tell)
        report = summarise(study, config)
        clips = _clips(study.items, specs, request, drawn, tell)
        hashes = {audio: row.pop("sha256") for audio, row in clips.items() if "sha256" in row}
        names = [method.name for method in study.methods]
        rows = _rows(study, specs, [questions_of_run(path) for path in request.runs], list(clips), hashes)
        page = _rendered(
            names=", ".join(names),
            figures=[*(score_figures(study, report) if drawn else ()), *further],
            overview=overview(report),
            tables=tables_of(report),
            notes=list(notes(report)),
            data=script_json({"runs": names, "clips": list(clips.values()), "questions": rows}),
        )
        write_record(folder.path / ABOUT, Invocation.starting(packages=("jinja2", "matplotlib")))
        write_whole(folder.path / PAGE, page.encode())
    return request.out / PAGE


def _spec_of(folder: Path) -> RunSpec:
    if not is_run(folder):
        raise DataError(f"{folder} is no run", "give the folder that `lalm-agent eval` wrote")
    return read_spec(folder / SPEC)


def _further_figures(request: PageRequest, drawn: bool) -> Iterator[PageFigure]:
    """The heat map of a study as it was drawn, and the curves of another."""
    if request.study is not None:
        path = request.study / HEATMAP
        try:
            svg = path.read_text("utf-8")
            words = [text.strip() for text in ElementTree.fromstring(svg).itertext() if text.strip()]
        except (OSError, ValueError, ElementTree.ParseError) as error:
            hint = f"lalm-agent transfer --report-only --out {request.study} draws it"
            raise DataError(f"{path} is no heat map of a study: {error}", hint) from error
        caption = f"Study {request.study.resolve().name}. Rows: what adapters were trained on; columns: what was asked."
        yield PageFigure("Does refusing transfer?", svg, ", ".join(words), caption)
    if request.faithfulness is not None and drawn:
        data, released = read_study(request.faithfulness)
        yield from curve_figures(faithfulness_report(data, released=released))


def _rendered(**values: Any) -> str:
    """The page. Template and assets are package data; script and style are named in its policy by their hashes."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    text = {name: resources.files(__package__).joinpath(f"page.{name}").read_text("utf-8") for name in _ASSETS}
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters["plain"] = plain
    environment.filters["table"] = lambda table: Markup(as_html(table))
    for name in ("css", "js"):
        digest = b64encode(hashlib.sha256(text[name].encode()).digest()).decode()
        values |= {name: Markup(text[name]), f"{name}_hash": Markup(f"'sha256-{digest}'")}
    return environment.from_string(text["html.j2"]).render(values | {"data": Markup(values["data"])})


_ASSETS = ("html.j2", "css", "js")


def script_json(value: Any) -> str:
    """JSON in ASCII that ends no `script` element, opens no comment in it and is one line of JavaScript, too."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("<", r"\u003c").replace(">", r"\u003e").replace("&", r"\u0026")


# --- the questions ---------------------------------------------------------------------------------------------------


def _rows(
    study: Study,
    specs: Sequence[RunSpec],
    runs: Sequence[Iterable[ShownQuestion]],
    clips: Sequence[str],
    hashes: Mapping[str, str],
) -> list[dict[str, Any]]:
    """A row for each question of the study, with what each run made of it; None where a run has no such question.

    clips, hashes: the names of the clips in the order of the page, and the sha256 of those that were decoded.
    """
    by_id = [{question.item.id: question for question in run} for run in runs]
    place_of = {audio: place for place, audio in enumerate(clips)}
    rows = []
    for place, item in enumerate(study.items):
        answers = []
        for spec, of_run, method in zip(specs, by_id, study.methods, strict=True):
            row = _answer_row(item, of_run[item.id], spec, hashes.get(item.audio)) if item.id in of_run else None
            if row is not None and method.published is not None and (code := int(method.published[place])) >= 0:
                row["match"] = OUTCOMES[code]
            answers.append(row)
        fields = {name: getattr(item, name) for name in ("id", "question", "choices", "gold", "groups")}
        rows.append(fields | {"modality": item.modality or "", "clip": place_of[item.audio], "runs": answers})
    return rows


def _answer_row(item: Item, question: ShownQuestion, spec: RunSpec, clip_sha256: str | None) -> dict[str, Any]:
    """What a run made of a question. clip_sha256: of the clip as it is now; None where that is not known."""
    answer, grade, tools = question.answer, question.grade, spec.identity.tools
    row: dict[str, Any] = {
        "outcome": grade.outcome,
        "status": question.status,
        "rule": grade.rule,
        "chosen": grade.chosen,
        "kind": grade.abstention and grade.abstention.words,
    }
    if question.item.choices != item.choices:
        row["shown"] = question.item.choices
    if answer is None:
        return row | {"failure": "it has no answer yet"}
    told = ("confidence", "option_probs", "reason", "suggestion", "withheld", "heard_clip", "heard_s", "audio_s", "raw")
    row |= {name: value for name in (*told, "responder") if (value := getattr(answer, name)) not in (None, ())}
    row |= {"seconds": answer.seconds, "prompt": answer.prompt, "tool": tools.get("answer", "")}
    row["warnings"] = list(answer.warnings)
    if spec.identity.audio == "real" and None is not clip_sha256 != answer.audio_sha256:
        row["warnings"].append("the clip here is another recording than the run heard")
    if item.more_audio:
        row["warnings"].append(f"the clip here is the first of {', '.join(item.audios)}")
    if answer.failure is not None:
        row["failure"] = answer.failure.message
    if answer.reason_kind is not None:
        row["reason_kind"] = answer.reason_kind.words
    if answer.reply is not None:
        part = deciding_part(answer.reply, question.item.choices)
        edges = (0, *part, len(answer.reply)) if part else (0, len(answer.reply))
        row["reply"] = [answer.reply[a:b] for a, b in pairwise(edges)]
    row["steps"] = [{**_step_row(step), "tool": tools.get(step.node, "")} for step in answer.steps]
    return row


def _step_row(step: Any) -> dict[str, Any]:
    fields = ("node", "prompt", "output", "seconds", "cached", "details", "raw", "responder")
    return {name: value for name in fields if (value := getattr(step, name)) not in (None, False)}


def deciding_part(reply: str, choices: tuple[str, ...]) -> tuple[int, int] | None:
    """(start, end) of the shortest run of sentences or lines that alone is read as the whole reply is.

    Read the same: status, choice, kind of refusal and rule. Of equally many sentences the last ones. None where no part
    is, where nothing could be read, and where the reply is an answer to an open question, which is the answer whole.
    """
    whole = parse(reply, choices)
    if whole.status is Status.UNPARSED or (whole.status is Status.ANSWERED and not choices):
        return None
    spans = _sentence_spans(reply)[-MOST_SENTENCES:]
    for length in range(1, min(len(spans), LONGEST_PART) + 1):
        for first in range(len(spans) - length, -1, -1):
            start, end = spans[first][0], spans[first + length - 1][1]
            part = parse(reply[start:end], choices)
            if (part.status, part.choice, part.kind, part.rule) == (whole.status, whole.choice, whole.kind, whole.rule):
                return start, end
    return None


def _sentence_spans(text: str) -> list[tuple[int, int]]:
    spans, end = [], 0
    for sentence in sentences(text):
        match = re.compile(r"\s+".join(map(re.escape, sentence.split()))).search(text, end)
        if match is not None:
            spans.append(match.span())
            end = match.end()
    return spans


# --- the clips -------------------------------------------------------------------------------------------------------


def _clips(
    items: Sequence[Item], specs: Sequence[RunSpec], request: PageRequest, drawn: bool, tell: Tell
) -> dict[str, dict[str, Any]]:
    """Clip's name -> its row of the page, with its sha256, in the order of the questions."""
    roots = clip_roots(specs, request.audio_root)
    journal_path, budget = request.out / CLIPS, request.embed_mb * 1e6
    done = {line["key"]: line for line in read_lines(journal_path)}
    names, rows = list(dict.fromkeys(item.audio for item in items)), {}
    with Journal(journal_path) as journal, closing(ProgressDisplay(0, len(names), "clips")) as display:
        for number, audio in enumerate(names, 1):
            display.show(number, "clips")
            try:
                path = clip_path(roots, audio)
            except DataError as error:
                rows[audio] = {"audio": audio, "note": error.message}
                continue
            status = path.stat()
            key = f"{path} {status.st_size} {status.st_mtime_ns} {drawn}"
            if key not in done:
                done[key] = {"key": key, **_decoded(path, drawn)}
                journal.append(done[key])
            source = quote(os.fsencode(os.path.relpath(path, request.out.resolve())))
            if request.clip_url is not None:
                source = request.clip_url + quote(audio, safe="", errors="surrogateescape")
            if status.st_size <= budget:
                budget -= status.st_size
                kind = mimetypes.guess_type(path.name)[0] or "audio/wav"
                source = f"data:{kind};base64,{b64encode(path.read_bytes()).decode()}"
            rows[audio] = {"audio": audio, "source": source, **done[key]}
            del rows[audio]["key"]
    if missing := sum("source" not in row for row in rows.values()):
        tell(f"warning: {missing} of {len(names)} clips are not there: --audio-root FOLDER says where they are")
    return rows


def clip_roots(specs: Sequence[RunSpec], audio_root: Path | None) -> list[Path]:
    """The folder of the clips, or where each of some runs found them."""
    recorded = [[session.audio_root for session in spec.sessions if session.audio_root is not None] for spec in specs]
    return [audio_root] if audio_root is not None else [Path(known[-1]) for known in recorded if known]


def clip_path(roots: Sequence[Path], audio: str) -> Path:
    """The clip's file under the first root that has it. Raises DataError, with why there is none."""
    paths = [audio_file(root, audio) for root in roots]
    if not paths:
        raise DataError("the run does not say where its clips are: give --audio-root")
    if (path := next((path for path in paths if path.is_file()), None)) is None:
        raise DataError(f"the clip is not at {paths[0]}", "--audio-root FOLDER says where the clips are")
    return path


def _decoded(path: Path, drawn: bool) -> dict[str, Any]:
    """Length, hash and picture of a clip, or why it cannot be decoded."""
    try:
        sound = load(str(path))
        picture = {"picture": b64encode(clip_png(sound.mono(CLIP_RATE))).decode()} if drawn else {}
    except DataError as error:
        return {"note": error.message}
    return {"seconds": sound.ref.seconds, "sha256": sound.ref.sha256, **picture}
