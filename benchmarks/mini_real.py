"""The rows of `benchmarks/mini.py` that come from recordings: type, SAKURA, the default agent, open questions."""

from collections.abc import Iterator, Sequence

import numpy as np
from mini_replies import equal_row, joined, part, right
from mini_runs import Options, runs_of

from lalm_agent.eval.guessing import guess_rates
from lalm_agent.eval.metrics.counts import ABSTAINED, CORRECT, FAILED
from lalm_agent.eval.metrics.estimate import Kind
from lalm_agent.eval.outputs import Outputs
from lalm_agent.eval.reading.predictions import read_run
from lalm_agent.eval.runs.folder import read_answers
from lalm_agent.eval.scoring.pairing import Grading, clip_numbers, study
from lalm_agent.eval.scoring.summary import Config, summarise
from lalm_agent.records import AudioType, Status
from lalm_agent.training.mini.figures import Ask, Figure, Row, share

TYPES = {"clips": Ask("29 of 33", at_least=29 / 33), "sakura": Ask("90 %", at_least=0.9)}
HOPS = ("single", "multi")


class Real:
    """The runs on recordings: SAKURA's public clips, and the mixed bag of `clips.json`."""

    def __init__(self, options: Options) -> None:
        """Read the runs."""
        self.options, self.runs = options, runs_of(options)

    def outputs(self, name: str) -> Outputs:
        """One run."""
        return read_run(self.options.work / self.runs[name].folder)

    def replies(self) -> Iterator[Row]:
        """Free replies that are one of the choices, SAKURA by hop, and the clips."""
        sakura, run = self.outputs("sakura-baseline"), self.runs["sakura-baseline"]
        for hop in HOPS:
            yield equal_row(f"SAKURA, {hop} hop", run, _of(sakura, {("hop", hop)}))
        yield equal_row("clips", self.runs["clips-baseline"], self.outputs("clips-baseline"))

    def types(self) -> Iterator[Row]:
        """What the agent's type step found, each file once."""
        for name, ask in TYPES.items():
            outputs = self.outputs(f"{name}-agent")
            first = {item.audio: item for item in reversed(outputs.items)}
            found = {id_: output.audio_type for id_, output in outputs.by_id.items()}
            hits = np.array([found.get(item.id) is item.audio_type for item in first.values()], np.bool_)
            figure = share(hits, np.arange(len(hits)))
            title = {"clips": "recordings of clips.json", "sakura": "SAKURA's clips"}[name]
            remark = f"{int(hits.sum())} of {len(hits)}"
            command, chance = self.runs[f"{name}-agent"].short, 1 / len(AudioType)
            yield Row(f"type, {title}", command, figure, chance=chance, ask=ask, remark=remark)

    def sakura(self) -> Iterator[Row]:
        """By track and hop."""
        outputs, command = self.outputs("sakura-baseline"), self.runs["sakura-baseline"].short
        tracks = sorted({dict(item.groups)["track"] for item in outputs.items})
        for track in tracks:
            for hop in HOPS:
                some = _of(outputs, {("track", track), ("hop", hop)})
                figure = share(right(some.items, some), clip_numbers(some.items, [some]))
                chance = guess_rates(some.items).total.chance
                ask = _sakura_ask(track, hop, chance)
                yield Row(f"SAKURA, {track}, {hop} hop", command, figure, chance=chance, ask=ask)

    def reliability(self) -> Iterator[Row]:
        """The default agent's error and coverage, and the strict RGI of IDK."""
        for title, names in {"SAKURA + clips": ("sakura", "clips"), "SAKURA": ("sakura",), "clips": ("clips",)}.items():
            graded = study([joined([self.outputs(f"{name}-agent") for name in names])], Grading())
            codes, clips = graded.baseline.codes, graded.clips
            # As `selective.ranked` has it: a reply that cannot be read is a reply, and no right one.
            answered = (codes != ABSTAINED) & (codes != FAILED)
            command = "; ".join(self.runs[f"{name}-agent"].short for name in names)
            ask = Ask("at most 30 %", at_most=0.3) if len(names) > 1 else None
            wrong = share((codes != CORRECT)[answered], clips[answered])
            yield Row(f"default agent, {title}: error among answered", command, wrong, ask=ask)
            yield Row(f"default agent, {title}: coverage", command, share(answered, clips))
            yield self._rgi(title, names)

    def speech(self) -> Iterator[Row]:
        """Open questions about real speech that the model cannot answer."""
        run = self.runs["speech"]
        answers = list(read_answers(self.options.work / run.folder).values())
        honest = np.array([one.status is Status.ABSTAINED and bool(one.reason) for one in answers], np.bool_)
        invented = np.array([one.status is Status.ANSWERED for one in answers], np.bool_)
        each = np.arange(len(answers))
        remark = f"{len({one.audio_sha256 for one in answers})} recordings"
        ask, none = Ask("80 %", at_least=0.8), Ask("nothing", at_most=0.0)
        yield Row("open, real speech: IDK with a reason", run.short, share(honest, each), ask=ask, remark=remark)
        yield Row("open, real speech: invented", run.short, share(invented, each), ask=none)

    def inventions(self) -> list[str]:
        """What was said in place of IDK, for a reader to judge."""
        answers = read_answers(self.options.work / self.runs["speech"].folder).values()
        return [f"{one.id}: {one.reply!r}" for one in answers if one.status is not Status.ABSTAINED]

    def _rgi(self, title: str, names: Sequence[str]) -> Row:
        runs = [joined([self.outputs(f"{name}-{method}") for name in names]) for method in ("baseline", "idk")]
        method = summarise(study(runs, Grading()), Config()).methods[1]
        strict, n = method.groups["total"].rgi["strict"], method.groups["total"].n_paired
        value = _with_kind(strict.value, strict.kind)
        figure = Figure(value, _with_kind(strict.low, strict.low_kind), _with_kind(strict.high, strict.high_kind), n)
        pairs = [f"{self.runs[f'{name}-baseline'].folder} {self.runs[f'{name}-idk'].folder}" for name in names]
        command = f"lalm-agent score {pairs[0]}" if len(pairs) == 1 else f"mini.py, joined: {', '.join(pairs)}"
        ask = Ask("interval above 0", low_above=0.0) if len(names) > 1 else None
        what, remark = f"idk against baseline, {title}: strict RGI", "; ".join(method.labels)
        return Row(what, command, figure, "number", 0.0, ask, remark)


def _of(outputs: Outputs, groups: set[tuple[str, str]]) -> Outputs:
    return part(outputs, lambda item: groups <= set(item.groups))


def _sakura_ask(track: str, hop: str, chance: float | None) -> Ask | None:
    if (track, hop) == ("Gender", "single"):
        return Ask("88 %", at_least=0.88)
    if (track, hop) == ("Animal", "single") and chance is not None:
        return Ask("interval clear of chance", low_above=chance)
    return None


def _with_kind(value: float | None, kind: str) -> float | None:
    infinite = {Kind.PLUS_INF: np.inf, Kind.MINUS_INF: -np.inf}
    return value if value is not None else infinite.get(Kind(kind))
