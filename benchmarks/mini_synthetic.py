"""The rows of `benchmarks/mini.py` that come from the split: levels, skills, edge, confidence, IDK."""

from collections.abc import Iterable, Iterator
from functools import cached_property

import numpy as np
from mini_replies import equal_row, right
from mini_runs import EDGE_DRAWS, MODALITIES, Options, runs_of

from lalm_agent.eval.guessing import guess_rates
from lalm_agent.eval.metrics.counts import ABSTAINED, CORRECT, Bools
from lalm_agent.eval.reading.predictions import read_run
from lalm_agent.eval.runs.folder import run_outputs
from lalm_agent.eval.scoring.pairing import Grading, clip_numbers, study
from lalm_agent.eval.scoring.schema import Report
from lalm_agent.eval.scoring.summary import Config, summarise
from lalm_agent.training.mini.figures import Ask, Clips, Figure, Row, auroc, difference, share
from lalm_agent.training.synth.families import MET, NEVER_MET

LEVELS = {
    "easy": Ask("90 %", at_least=0.9),
    "medium": Ask("75 %", at_least=0.75),
    "hard": Ask("40 to 65 %", at_least=0.4, at_most=0.65),
}


class Synthetic:
    """The runs on the split."""

    def __init__(self, options: Options) -> None:
        """Read and grade the greedy runs."""
        self.options, self.runs = options, runs_of(options)
        folders = [options.work / self.runs[name].folder for name in ("baseline", "idk")]
        self.study = study([read_run(folder) for folder in folders], Grading())
        self.baseline, self.idk = (method.codes for method in self.study.methods)
        self.groups = [dict(item.groups) for item in self.study.items]

    @cached_property
    def report(self) -> Report:
        """What `lalm-agent score` prints of the two."""
        return summarise(self.study, Config())

    def where(self, dimension: str, values: Iterable[str]) -> Bools:
        """The questions (n,) of a group."""
        wanted = set(values)
        return np.array([group.get(dimension) in wanted for group in self.groups], np.bool_)

    def accuracy(self) -> Iterator[Row]:
        """By level, by modality, seen against unseen, and a line for each skill."""
        yield self._scored(self.options.split, "total", "modality", None)
        for level, ask in LEVELS.items():
            yield self._scored(level, f"difficulty:{level}", "difficulty", ask)
        for kind in MODALITIES:
            ask = Ask("18 % errors at least", at_most=0.82)
            yield self._scored(kind, kind, "modality", ask)
        for value in ("true", "false"):
            yield self._scored("seen" if value == "true" else "unseen", f"seen:{value}", "seen", None)
        answerable = self.study.answerable
        gap = difference(self._right[answerable], self.where("seen", ["true"])[answerable], self._clips[answerable])
        ask = Ask("within 12 points", at_least=-0.12, at_most=0.12)
        yield Row("accuracy, seen minus unseen", self._score("--by seen"), gap, "points", ask=ask)
        yield from self._skills()

    def replies(self) -> Iterator[Row]:
        """Free replies that are one of the choices."""
        outputs, run = self.study.baseline.outputs, self.runs["baseline"]
        yield equal_row("synthetic", run, outputs)

    def edge(self) -> Iterator[Row]:
        """Questions that some of several samples get right, and others not."""
        for kind in MODALITIES:
            run = self.runs[f"edge-{kind}"]
            draws = [run_outputs(self.options.work / run.folder, draw) for draw in range(EDGE_DRAWS)]
            items = [item for item in draws[0].items if item.answerable]
            times = np.sum([right(items, outputs) for outputs in draws], axis=0)
            figure = share((times > 0) & (times < EDGE_DRAWS), clip_numbers(items, draws))
            ask = Ask("15 %", at_least=0.15)
            yield Row(f"right 1..4 times of {EDGE_DRAWS} at T = 1.0, {kind}", run.short, figure, ask=ask)

    def confidence(self) -> Iterator[Row]:
        """Whether right replies are more confident."""
        known, ask = self.study.baseline.confidence, Ask("0.75", at_least=0.75)
        for kind in MODALITIES:
            at = self.where("modality", [kind]) & self.study.answerable
            figure = auroc(self.baseline[at], known[at], self._clips[at])
            yield Row(f"AUROC of confidence, {kind}", self._score("--json"), figure, "number", 0.5, ask)

    def idk_rows(self) -> Iterator[Row]:
        """Who is refused under the IDK prompt."""
        met, never = Ask("70 %", at_least=0.7), Ask("50 %", at_least=0.5)
        lost = ~self.study.answerable
        yield self._refused("unanswerable, families met in training", self.where("family", MET), met)
        yield self._refused("unanswerable, families never met", self.where("family", NEVER_MET), never)
        for family in (*MET, *NEVER_MET):
            yield self._refused(f"unanswerable, {family}", self.where("family", [family]), None)
        for kind in MODALITIES:
            yield self._refused(f"unanswerable, {kind}", lost & self.where("modality", [kind]), None)
        known = self.study.answerable & (self.baseline == CORRECT)
        yield self._refused("answerable and right without it", known, Ask("at most 15 %", at_most=0.15))
        for kind in MODALITIES:
            here = known & self.where("modality", [kind])
            yield self._refused(f"answerable and right without it, {kind}", here, None)
        yield self._refused("answerable, all", self.study.answerable, None)

    @property
    def _right(self) -> Bools:
        return self.baseline == CORRECT

    @property
    def _clips(self) -> Clips:
        return self.study.clips

    def _score(self, form: str) -> str:
        return f"lalm-agent score {self.runs['baseline'].folder} {form}"

    def _scored(self, name: str, key: str, by: str, ask: Ask | None) -> Row:
        """An accuracy of `lalm-agent score`."""
        group = self.report.methods[0].groups.get(key)
        guess = self.report.guessing.get(key)
        figure = Figure(None, None, None, 0)
        if group is not None:
            figure = Figure(group.acc.value, group.acc.low, group.acc.high, group.n)
        chance = guess.chance if guess else None
        return Row(f"accuracy, {name}", self._score(f"--by {by}"), figure, chance=chance, ask=ask)

    def _skills(self) -> Iterator[Row]:
        """Few questions each, every one with a clip of its own: Wilson's interval."""
        for kind in MODALITIES:
            of_kind = self.where("modality", [kind]) & self.study.answerable
            skills = {group["skill"] for group, here in zip(self.groups, of_kind, strict=True) if here}
            for skill in sorted(skills):
                yield self._skill(kind, skill, of_kind & self.where("skill", [skill]))

    def _skill(self, kind: str, skill: str, at: Bools) -> Row:
        figure = share(self._right[at], self._clips[at])
        chance = guess_rates(item for item, here in zip(self.study.items, at, strict=True) if here).total.chance
        known = chance is not None and figure.low is not None and figure.high is not None
        remark = "at chance" if known and figure.low <= chance <= figure.high else ""
        return Row(f"skill, {kind}: {skill}", self._score("--by skill"), figure, chance=chance, remark=remark)

    def _refused(self, what: str, at: Bools, ask: Ask | None) -> Row:
        figure = share((self.idk == ABSTAINED)[at], self._clips[at])
        return Row(f"IDK prompt: IDK, {what}", self.runs["idk"].short, figure, ask=ask)
