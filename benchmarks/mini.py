"""Every row of what `mini` must show, for any model: the figure, chance, n, the 95 % interval, and whether it is met.

    .venv/bin/python benchmarks/mini.py --data ../shared/data --work FOLDER [--model FOLDER] [--split test --seed S]

`--data` holds `clips/` (with `clips.json`) and `sakura/`. Runs are kept in `--work`, one folder for each model: the
same command goes on where it was cut, and prints the table again from what is there. `--quick` asks a few questions of
everything, to try it. Prints Markdown; exits with 0 whether or not what is asked is met.
"""

import argparse
import ast
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path

import numpy as np
from harness import ROOT, lalm_agent, script, shown, two_at_a_time
from mini_figures import Goal, Row, auroc, difference, markdown, median, share, share_of_few_clips

from lalm_agent.answers import same_text
from lalm_agent.eval.grade import Outcome, Outputs, RuleScorer, guess_rates
from lalm_agent.eval.items import Item
from lalm_agent.eval.metrics.counts import ABSTAINED, CORRECT, FAILED, Bools
from lalm_agent.eval.metrics.estimate import Figure
from lalm_agent.eval.reading.predictions import read_run
from lalm_agent.eval.runs.folder import read_answers, run_outputs
from lalm_agent.eval.scoring.compare import Grading, clip_numbers, study
from lalm_agent.eval.scoring.schema import Report
from lalm_agent.eval.scoring.summary import Config, summarise
from lalm_agent.records import AudioType, Status
from lalm_agent.training.synth.unanswerable import HELD_OUT_FAMILIES, TRAINED_FAMILIES

QUICK_N, QUICK_LIMITS = 30, {"sakura": "24", "clips": "9", "speech": "6"}
MODALITIES, METHODS, HOPS = ("sound", "music", "speech"), ("baseline", "idk"), ("single", "multi")
EDGE_DRAWS, EDGE_LIMIT = 5, 375
"""Questions of each modality that are sampled; a fifth has no answer, which leaves 300."""
TEN_SECONDS = "data/clips/jfk.flac"
LOOK = "This is a look at the test split: LOG.md counts every one of them."
INTERVALS = (
    "Intervals: accuracies and RGI as `lalm-agent score` has them (percentile bootstrap over clips, 2,000 resamples). "
    "Shares: Wilson where each question has a clip of its own, which skills have; otherwise the same bootstrap, and "
    "Wilson over the clips for a share of 0 or 1, and for open questions about real speech, as if all replies about a "
    "recording were the same: three are too few to resample. AUROC and differences: the same bootstrap. Seconds and "
    "bytes: the median with its order-statistic interval, undefined below six runs. Undefined stays undefined."
)
LEVELS = {
    "easy": Goal("90 %", at_least=0.9),
    "medium": Goal("75 %", at_least=0.75),
    "hard": Goal("40 to 65 %", at_least=0.4, at_most=0.65),
}
TYPES = {
    "clips": ("recordings of clips.json", Goal("29 of 33", at_least=29 / 33)),
    "sakura": ("SAKURA's clips", Goal("90 %", at_least=0.9)),
}

# --- the runs ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Run:
    """One run of `lalm-agent eval`: its folder in the working folder, and the arguments."""

    folder: str
    arguments: tuple[str, ...]

    @property
    def short(self) -> str:
        """What tells the command from the others."""
        return f"lalm-agent eval … --out {self.folder}"


@dataclass(frozen=True)
class MiniOptions:
    """What is measured. work: holds everything that is written, and every command is run in it.

    data: holds `clips/` and `sakura/`. n: questions of the split. quick: a few of everything.
    """

    model: str
    split: str
    seed: int
    n: int
    data: Path
    work: Path
    quick: bool

    @property
    def benchmark(self) -> str:
        """The split's folder."""
        return f"{self.split}-{self.seed}-{self.n}"

    @property
    def has_folder(self) -> bool:
        """Whether the model is a folder, to which a link in the working folder points."""
        return Path(self.model).exists()

    @property
    def shown_model(self) -> str:
        """The model's reference inside the working folder."""
        return "./model" if self.has_folder else self.model

    @property
    def synth(self) -> tuple[str, ...]:
        """The arguments that make the split."""
        size = ("--n", str(self.n), "--seed", str(self.seed))
        return ("data", "synth", "--split", self.split, *size, "--out", self.benchmark)

    @cached_property
    def runs(self) -> dict[str, Run]:
        """Every run by the name that the rows know it by, the longest first."""
        agent = ("--method", "agent", "--tools", "assist")
        few = {name: ("--limit", n) if self.quick else () for name, n in QUICK_LIMITS.items()}
        data = {
            "sakura": ("sakura", "--data", "data/sakura", *few["sakura"]),
            "clips": ("clips.jsonl", "--audio-root", "data/clips", *few["clips"]),
        }
        arguments: dict[str, tuple[str, ...]] = {}
        for name, words in data.items():
            arguments[f"{name}-agent"] = (*words, *agent)
            arguments |= {f"{name}-{method}": (*words, "--method", method) for method in METHODS}
        split, own = ("synth", "--data", self.benchmark), f"{self.benchmark}-"
        limit = ("--limit", str(6 if self.quick else EDGE_LIMIT))
        draws = ("--method", "baseline", "--draws", str(EDGE_DRAWS), "--temperature", "1.0")
        arguments |= {f"{own}edge-{kind}": (*split, *draws, "--modality", kind, *limit) for kind in MODALITIES}
        arguments |= {f"{own}{method}": (*split, "--method", method) for method in METHODS}
        arguments["speech"] = ("speech.jsonl", "--audio-root", "data/clips", *few["speech"], *agent)
        end = ("--model", self.shown_model, "--out")
        return {
            name.removeprefix(own): Run(f"runs/{name}", ("eval", *words, *end, f"runs/{name}"))
            for name, words in arguments.items()
        }

    def answers(self, name: str) -> list:
        """The answers of a run."""
        return list(read_answers(self.work / self.runs[name].folder).values())

    @cache  # noqa: B019 - one object a process
    def outputs(self, name: str) -> Outputs:
        """A run, for scoring."""
        return read_run(self.work / self.runs[name].folder)


def parsed() -> MiniOptions:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="mini", help="a reference as `lalm-agent models` lists them")
    parser.add_argument("--split", choices=("dev", "test"), default="dev")
    parser.add_argument("--seed", type=int, default=0, help="of the split's generator")
    parser.add_argument("--n", type=int, default=1500, help="questions of the split")
    parser.add_argument("--data", type=Path, required=True, help="the folder that holds clips/ and sakura/")
    parser.add_argument("--work", type=Path, required=True, help="where runs are kept; one folder for each model")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_N} questions of the split, a few of the rest")
    options = MiniOptions(**vars(parser.parse_args()))
    for part in ("clips/clips.json", "sakura"):
        if not (options.data / part).exists():
            parser.error(f"{options.data} holds no {part}")
    return replace(options, n=QUICK_N) if options.quick else options


def prepare(options: MiniOptions) -> None:
    """Fill the working folder with all that the runs read. What is there stays."""
    options.work.mkdir(parents=True, exist_ok=True)
    link(options.work / "data", options.data)
    if options.has_folder:
        link(options.work / "model", Path(options.model))
    questions_file = Path(__file__).with_name("real_questions.jsonl")
    rows = [json.loads(line) for line in questions_file.read_text(encoding="utf-8").splitlines()]
    modality = {clip["file"]: clip["modality"] for clip in json.loads((options.data / "clips/clips.json").read_text())}
    clips = [{"id": row["audio"], **row, "modality": modality[row["audio"]]} for row in rows]
    files, questions = listed("REAL_ENGLISH"), listed("UNKNOWABLE")
    speech = [
        {"id": f"{file}/{at}", "audio": file, "question": question, "answerable": False, "answer": None}
        for file in files
        for at, question in enumerate(questions)
    ]
    for name, lines in {"clips": clips, "speech": speech}.items():
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (options.work / f"{name}.jsonl").write_text(text, encoding="utf-8")
    if not (options.work / options.benchmark / "questions.json").is_file():
        lalm_agent(options.synth, options.work)


def link(path: Path, target: Path) -> None:
    """Point a link to a folder; one that points elsewhere is of another call, whose runs would be mixed with these."""
    if path.is_symlink() and path.resolve() != target.resolve():
        sys.exit(f"{path} points to {path.resolve()}, not to {target.resolve()}: give another --work")
    if not path.is_symlink():
        path.symlink_to(target.resolve(), target_is_directory=True)


def listed(name: str) -> tuple[str, ...]:
    """A tuple of texts that the tests of `mini` list: its open questions about real speech, and the recordings."""
    tree = ast.parse((ROOT / "tests" / "agent" / "test_mini.py").read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(to, ast.Name) and to.id == name for to in node.targets):
            return tuple(ast.literal_eval(node.value))
    sys.exit(f"tests/agent/test_mini.py lists no {name}")


# --- single replies, and runs put together ----------------------------------------------------------------------------


def equal_row(what: str, run: Run, outputs: Outputs) -> Row:
    """How many of the replies to questions with choices are one of the choices."""

    def is_a_choice(item: Item) -> bool:
        output = outputs.by_id.get(item.id)
        text = None if output is None else output.text
        return text is not None and any(same_text(text, choice) for choice in item.choices)

    closed = np.array([bool(item.choices) for item in outputs.items], np.bool_)
    equal = np.array([is_a_choice(item) for item in outputs.items], np.bool_)
    figure = share(equal[closed], clip_numbers(outputs.items, [outputs])[closed])
    return Row(f"free reply is one of the choices, {what}", run.short, figure, ask=Goal("97 %", at_least=0.97))


def right(items: Sequence[Item], outputs: Outputs) -> Bools:
    """Which of the questions a run got right, graded in the order of choices that it was shown."""
    own = {item.id: item for item in outputs.items}
    replies = [outputs.by_id.get(item.id) for item in items]
    grades = RuleScorer()([own[item.id] for item in items], [reply.text if reply else None for reply in replies])
    return np.array([grade.outcome is Outcome.CORRECT for grade in grades], np.bool_)


def in_groups(outputs: Outputs, *groups: tuple[str, str]) -> Outputs:
    """The run on the questions that are in all of these groups."""
    return replace(outputs, items=tuple(item for item in outputs.items if set(groups) <= set(item.groups)))


def joined(parts: Sequence[Outputs]) -> Outputs:
    """Several runs of one method over different questions, as one."""
    return replace(
        parts[0],
        items=tuple(item for part in parts for item in part.items),
        by_id={id_: output for part in parts for id_, output in part.by_id.items()},
        warnings=tuple(warning for part in parts for warning in part.warnings),
    )


# --- rows that come from recordings -----------------------------------------------------------------------------------


def real_replies(options: MiniOptions) -> Iterator[Row]:
    """Free replies that are one of the choices, SAKURA by hop, and the clips."""
    for hop in HOPS:
        outputs = in_groups(options.outputs("sakura-baseline"), ("hop", hop))
        yield equal_row(f"SAKURA, {hop} hop", options.runs["sakura-baseline"], outputs)
    yield equal_row("clips", options.runs["clips-baseline"], options.outputs("clips-baseline"))


def types(options: MiniOptions) -> Iterator[Row]:
    """What the agent's type step says, each file once."""
    for name, (title, ask) in TYPES.items():
        outputs = options.outputs(f"{name}-agent")
        first = {item.audio: item for item in reversed(outputs.items)}
        said = {id_: output.audio_type for id_, output in outputs.by_id.items()}
        hits = np.array([said.get(item.id) is item.audio_type for item in first.values()], np.bool_)
        command, remark = options.runs[f"{name}-agent"].short, f"{int(hits.sum())} of {len(hits)}"
        figure = share(hits, np.arange(len(hits)))
        yield Row(f"type, {title}", command, figure, chance=1 / len(AudioType), ask=ask, remark=remark)


def sakura(options: MiniOptions) -> Iterator[Row]:
    """By track and hop."""
    outputs = options.outputs("sakura-baseline")
    for track in sorted({dict(item.groups)["track"] for item in outputs.items}):
        for hop in HOPS:
            part = in_groups(outputs, ("track", track), ("hop", hop))
            figure = share(right(part.items, part), clip_numbers(part.items, [part]))
            chance = guess_rates(part.items).total.chance
            asks = {("Gender", "single"): Goal("88 %", at_least=0.88)}
            if chance is not None:
                asks["Animal", "single"] = Goal("interval clear of chance", low_above=chance)
            command, ask = options.runs["sakura-baseline"].short, asks.get((track, hop))
            yield Row(f"SAKURA, {track}, {hop} hop", command, figure, chance=chance, ask=ask)


def speech(options: MiniOptions) -> Iterator[Row]:
    """Open questions about real speech that the model cannot answer."""
    command, answers = options.runs["speech"].short, options.answers("speech")
    honest = np.array([answer.status is Status.ABSTAINED and bool(answer.reason) for answer in answers], np.bool_)
    invented = np.array([answer.status is Status.ANSWERED for answer in answers], np.bool_)
    clips = np.unique([answer.id.rpartition("/")[0] for answer in answers], return_inverse=True)[1]
    ask, none = Goal("80 %", at_least=0.8), Goal("nothing", at_most=0.0)
    sure, made_up = share_of_few_clips(honest, clips), share_of_few_clips(invented, clips)
    remark = f"{len(np.unique(clips))} recordings"
    yield Row("open, real speech: IDK with a reason", command, sure, ask=ask, remark=remark)
    yield Row("open, real speech: invented", command, made_up, ask=none, remark=remark)


def reliability(options: MiniOptions) -> Iterator[Row]:
    """The default agent's error and coverage, and the strict RGI of IDK."""
    for title, names in {"SAKURA + clips": ("sakura", "clips"), "SAKURA": ("sakura",), "clips": ("clips",)}.items():
        graded = study([joined([options.outputs(f"{name}-agent") for name in names])], Grading())
        codes, clips = graded.baseline.codes, graded.clips
        # As `selective.ranked` has it: a reply that cannot be read is a reply, and no right one.
        answered = (codes != ABSTAINED) & (codes != FAILED)
        command = "; ".join(options.runs[f"{name}-agent"].short for name in names)
        ask = Goal("at most 30 %", at_most=0.3) if len(names) > 1 else None
        wrong = share((codes != CORRECT)[answered], clips[answered])
        yield Row(f"default agent, {title}: error among answered", command, wrong, ask=ask)
        yield Row(f"default agent, {title}: coverage", command, share(answered, clips))
        yield _rgi(options, title, names)


def _rgi(options: MiniOptions, title: str, names: Sequence[str]) -> Row:
    runs = [joined([options.outputs(f"{name}-{method}") for name in names]) for method in METHODS]
    method = summarise(study(runs, Grading()), Config()).methods[1]
    total = method.groups["total"]
    pairs = [" ".join(options.runs[f"{name}-{method}"].folder for method in METHODS) for name in names]
    command = f"lalm-agent score {pairs[0]}" if len(pairs) == 1 else f"mini.py, joined: {', '.join(pairs)}"
    ask = Goal("interval above 0", low_above=0.0) if len(names) > 1 else None
    figure, remark = total.rgi["strict"].model_copy(update={"n": total.n_paired}), "; ".join(method.labels)
    return Row(f"idk against baseline, {title}: strict RGI", command, figure, "number", 0.0, ask, remark)


def speed(options: MiniOptions) -> Iterator[Row]:
    """Seconds and memory, measured when nothing of this script runs beside it."""
    arguments = ["--model", options.shown_model, "--windows", TEN_SECONDS]
    command = [sys.executable, str(Path(__file__).with_name("ask.py").resolve()), *arguments]
    done = subprocess.run(command, cwd=options.work, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(done.returncode)
    taken = json.loads(done.stdout)
    typed = " ".join(["python benchmarks/ask.py", *arguments])
    load = f"{taken['threads']} threads; load average {os.getloadavg()[0]:.1f}"
    ask = Goal("0.3 s", at_most=0.3)
    yield Row("a question about a new 10 s clip, warm", typed, median(taken["seconds"]), "s", ask=ask, remark=load)
    yield Row("a further question about the same clip", typed, median(taken["again"]), "s", remark=load)
    ask = Goal("1.5 GB", at_most=1.5e9)
    yield Row("peak memory of `ask`, default tools", typed, median(taken["bytes"]), "GB", ask=ask)


# --- rows that come from the split ------------------------------------------------------------------------------------


class Synthetic:
    """The runs on the split, the greedy ones graded."""

    def __init__(self, options: MiniOptions) -> None:
        """Read and grade."""
        self.options, self.runs = options, options.runs
        self.study = study([options.outputs(name) for name in METHODS], Grading())
        self.baseline, self.idk = (method.codes for method in self.study.methods)
        self.groups = [dict(item.groups) for item in self.study.items]
        self.answerable, self.right, self.clips = self.study.answerable, self.baseline == CORRECT, self.study.clips

    @cached_property
    def report(self) -> Report:
        """What `lalm-agent score` prints of the two."""
        return summarise(self.study, Config())

    def where(self, dimension: str, *values: str) -> Bools:
        """The questions (n,) of a group."""
        return np.array([group.get(dimension) in values for group in self.groups], np.bool_)

    def accuracy(self) -> Iterator[Row]:
        """By level, by modality, seen against unseen, and a line for each skill."""
        yield self._scored(self.options.split, "total", "modality")
        for level, ask in LEVELS.items():
            yield self._scored(level, f"difficulty:{level}", "difficulty", ask)
        for kind in MODALITIES:
            yield self._scored(kind, kind, "modality", Goal("18 % errors at least", at_most=0.82))
        for name, value in {"seen": "true", "unseen": "false"}.items():
            yield self._scored(name, f"seen:{value}", "seen")
        at = self.answerable
        gap = difference(self.right[at], self.where("seen", "true")[at], self.clips[at])
        ask = Goal("within 12 points", at_least=-0.12, at_most=0.12)
        yield Row("accuracy, seen minus unseen", self._score("--by seen"), gap, "points", ask=ask)
        for kind in MODALITIES:
            of_kind = self.where("modality", kind) & at
            for skill in sorted({group["skill"] for group, here in zip(self.groups, of_kind, strict=True) if here}):
                yield self._skill(kind, skill, of_kind & self.where("skill", skill))

    def edge(self) -> Iterator[Row]:
        """Questions that some of several samples get right, and others not."""
        for kind in MODALITIES:
            run = self.runs[f"edge-{kind}"]
            draws = [run_outputs(self.options.work / run.folder, draw) for draw in range(EDGE_DRAWS)]
            items = [item for item in draws[0].items if item.answerable]
            times = np.sum([right(items, outputs) for outputs in draws], axis=0)
            figure = share((times > 0) & (times < EDGE_DRAWS), clip_numbers(items, draws))
            what = f"right 1..4 times of {EDGE_DRAWS} at T = 1.0, {kind}"
            yield Row(what, run.short, figure, ask=Goal("15 %", at_least=0.15))

    def confidence(self) -> Iterator[Row]:
        """Whether right replies are more confident."""
        for kind in MODALITIES:
            at = self.where("modality", kind) & self.answerable
            figure = auroc(self.baseline[at], self.study.baseline.confidence[at], self.clips[at])
            ask = Goal("0.75", at_least=0.75)
            yield Row(f"AUROC of confidence, {kind}", self._score("--json"), figure, "number", 0.5, ask)

    def idk_rows(self) -> Iterator[Row]:
        """Who is refused under the IDK prompt."""
        for title, families, ask in (
            ("families met in training", TRAINED_FAMILIES, Goal("70 %", at_least=0.7)),
            ("families never met", HELD_OUT_FAMILIES, Goal("50 %", at_least=0.5)),
            *((family, (family,), None) for family in (*TRAINED_FAMILIES, *HELD_OUT_FAMILIES)),
        ):
            yield self._refused(f"unanswerable, {title}", self.where("family", *families), ask)
        for kind in MODALITIES:
            yield self._refused(f"unanswerable, {kind}", ~self.answerable & self.where("modality", kind))
        known, what = self.answerable & self.right, "answerable and right without it"
        yield self._refused(what, known, Goal("at most 15 %", at_most=0.15))
        for kind in MODALITIES:
            yield self._refused(f"{what}, {kind}", known & self.where("modality", kind))
        yield self._refused("answerable, all", self.answerable)

    def _score(self, form: str) -> str:
        return f"lalm-agent score {self.runs['baseline'].folder} {form}"

    def _scored(self, name: str, key: str, by: str, ask: Goal | None = None) -> Row:
        group, guess = self.report.methods[0].groups.get(key), self.report.guessing.get(key)
        figure = Figure(value=None, n=0) if group is None else group.acc.model_copy(update={"n": group.n})
        chance = guess.chance if guess else None
        return Row(f"accuracy, {name}", self._score(f"--by {by}"), figure, chance=chance, ask=ask)

    def _skill(self, kind: str, skill: str, at: Bools) -> Row:
        """Few questions each, every one with a clip of its own: Wilson's interval."""
        figure = share(self.right[at], self.clips[at])
        chance = guess_rates(item for item, here in zip(self.study.items, at, strict=True) if here).total.chance
        known = chance is not None and figure.low is not None and figure.high is not None
        remark = "at chance" if known and figure.low <= chance <= figure.high else ""
        return Row(f"skill, {kind}: {skill}", self._score("--by skill"), figure, chance=chance, remark=remark)

    def _refused(self, what: str, at: Bools, ask: Goal | None = None) -> Row:
        figure = share((self.idk == ABSTAINED)[at], self.clips[at])
        return Row(f"IDK prompt: IDK, {what}", self.runs["idk"].short, figure, ask=ask)


# --- the report -------------------------------------------------------------------------------------------------------


def rows(options: MiniOptions) -> Iterator[Row]:
    """Every row in the order of the asks."""
    synthetic = Synthetic(options)
    yield from synthetic.accuracy()
    yield equal_row("synthetic", options.runs["baseline"], options.outputs("baseline"))
    yield from real_replies(options)
    yield from types(options)
    yield from sakura(options)
    yield from synthetic.edge()
    yield from synthetic.confidence()
    yield from synthetic.idk_rows()
    yield from speech(options)
    yield from reliability(options)
    yield from speed(options)


def report(options: MiniOptions, taken: Mapping[str, float]) -> Iterator[str]:
    """The lines of the report. taken: this call's seconds for each run."""
    quick = ". A quick try: too few questions for any figure to be read." if options.quick else ""
    yield from (f"# `{options.model}`, {options.split} split, seed {options.seed}, {options.n} questions{quick}", "")
    yield from ("<!-- not run below: `benchmarks/mini.py` runs them -->", "")
    if options.split == "test":
        yield from (f"**{LOOK}**", "")
    # The command without the places of this machine.
    size = "--quick" if options.quick else f"--n {options.n}"
    which = f"--model {'FOLDER' if options.has_folder else options.model} --split {options.split} --seed {options.seed}"
    typed = f"python benchmarks/mini.py {which} {size} --data DATA --work WORK"
    yield from (f"`{typed}` ran these commands in the working folder and reads its figures from them:", "", "```")
    yield from (shown(arguments) for arguments in (options.synth, *(run.arguments for run in options.runs.values())))
    yield from ("```", "", *markdown(rows(options)), "", INTERVALS, "")
    invented = [answer for answer in options.answers("speech") if answer.status is not Status.ABSTAINED]
    if invented:
        lines: Iterable[str] = (f"- `{answer.id}: {answer.reply!r}`" for answer in invented)
        yield from ("Open questions about real speech that got no IDK:", "", *lines, "")
    yield "| run | answers | seconds for 100 | this call's seconds |"
    yield "| --- | --- | --- | --- |"
    for name, run in options.runs.items():
        answers = options.answers(name)
        mean = sum(answer.seconds for answer in answers) / max(1, len(answers))
        yield f"| {run.folder} | {len(answers)} | {100 * mean:.1f} | {taken[name]:.0f} |"


def main() -> None:
    """Run what is missing and print the report."""
    options = parsed()
    if options.split == "test":
        print(LOOK, file=sys.stderr, flush=True)
    prepare(options)
    start = time.monotonic()
    taken = two_at_a_time({name: run.arguments for name, run in options.runs.items()}, options.work)
    print(f"all runs: {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
    print("\n".join(report(options, taken)))


if __name__ == "__main__":
    script(main)
