"""What a terminal shows of a run: while it goes on, on stderr, and the lines of its summary and of an estimate."""

from collections.abc import Iterator, Sequence
from typing import Any, Self

from lalm_agent.eval.grade import OUTCOMES
from lalm_agent.eval.runs.ask import Tally, outcome_words
from lalm_agent.eval.runs.evaluate import Observer, RunEstimate, RunStart, summarise
from lalm_agent.eval.runs.folder import RunFolder
from lalm_agent.eval.runs.records import StoredAnswer
from lalm_agent.terminal import ProgressDisplay, duration, say


class TerminalObserver(Observer):
    """Says what is about to be asked, shows how far it has come, and says how it ended. A context manager."""

    _display: ProgressDisplay | None = None

    def __init__(self) -> None:
        """Nothing has started."""
        self._starts: list[RunStart] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        if self._display is not None:
            self._display.close()
            self._display = None

    def note(self, text: str) -> None:
        """A line."""
        self.__exit__()
        say(text)

    def started(self, start: RunStart) -> None:
        """What is about to be asked, of whom, and what the figures will not promise."""
        identity, plan = start.identity, start.plan
        draws = f", {identity.draws} draws" if identity.draws > 1 else ""
        order = " in the order of a hash of their ids" if plan.selection.limit else ""
        version = plan.benchmark.version or f"unknown file, sha256 {identity.data.sha256[:12]}"
        say(f"data: {identity.data.name} ({version})")
        shard = f", shard {plan.selection.shard}" if plan.selection.shard else ""
        say(f"run: {identity.run_id}: {len(plan.items)} of {len(plan.pool)} questions{order}{draws}{shard}")
        if start.there:
            say(f"resume: {start.there} answers are there, {len(plan.left)} are left")
        weights = f", weights {identity.weights_sha256[:12]}" if identity.weights_sha256 else ""
        adapter = f", adapter {identity.adapter_sha256[:12]}" if identity.adapter_sha256 else ""
        say(f"model: {identity.model}{weights}{adapter}, {identity.dtype} on {start.device}, method {identity.method}")
        say(f"tools: {', '.join(f'{node}={name}' for node, name in identity.tools.items())}")
        for note in _notes(start):
            say(f"note: {note}")
        self.__exit__()
        self._starts.append(start)
        done, words = self._so_far()
        self._display = ProgressDisplay(done, sum(start.total for start in self._starts), words)

    def _so_far(self) -> tuple[int, str]:
        """How many answers there are, and their outcomes, all runs together."""
        counts = {outcome: sum(start.tally.counts[outcome] for start in self._starts) for outcome in OUTCOMES}
        return sum(counts.values()), outcome_words(counts)

    def answered(self, answer: StoredAnswer) -> None:
        """How far it has come."""
        if self._display is not None:
            self._display.show(*self._so_far())

    def stopping(self, out: int) -> None:
        """A line."""
        say(f"stopping: waiting for {out} questions that are out; Ctrl-C again drops them")

    def interrupted(self, run: RunFolder) -> None:
        """What is kept."""
        if run.spec is not None:
            kept = f"{len(Tally(run.items, run.answers).grades)} of {len(run.items) * run.spec.identity.draws}"
            self.note(f"kept {kept} answers in {run.path}; the same command goes on from there")

    def finished(self, run: RunFolder, questions: int) -> None:
        """That there was nothing to do, where that is so."""
        self.__exit__()
        if not questions:
            say(f"nothing to do: all {len(run.items)} questions of {run.path} are answered")


def _notes(start: RunStart) -> Iterator[str]:
    identity, selection = start.identity, start.plan.selection
    if identity.model.startswith("openai:"):
        yield "a remote endpoint: that the same run gives the same answers again is not promised"
    elif identity.dtype not in ("float32", "none") and start.batch_size > 1:
        yield f"{identity.dtype}: answers may depend on the batch size; --batch-size 1 keeps them equal"
    if identity.audio == "silence":
        yield "blind control: digital silence of each clip's own length in place of the clip"
    if identity.audio == "swap":
        yield "blind control: each question hears another clip of the data, of any modality"
    if not identity.hears_audio:
        yield "text only: the model is asked without the clip, as each answer says"
    if selection.missing:
        yield f"{len(selection.missing)} questions are left out because their clip is missing"
    if selection.several_clips:
        yield f"{selection.several_clips} questions about several clips are left out"
    if selection.faulty:
        yield f"{selection.faulty} faulty rows are left out"


def estimate_lines(cost: RunEstimate) -> Iterator[str]:
    """What `eval --dry-run` says."""
    seconds = cost.basis
    if cost.seconds is not None:
        seconds = f"{cost.seconds:.0f} ({duration(cost.seconds)}; from {cost.basis})"
    yield f"questions left:    {cost.questions}"
    yield f"requests:          {cost.requests}"
    yield f"audio minutes:     {cost.audio_s / 60:.1f}{f', {cost.unread} clips unread' if cost.unread else ''}"
    yield f"estimated seconds: {seconds}"
    if cost.lacking:
        yield f"missing clips:     {cost.lacking} questions; the run would refuse without --skip-missing"
    if left_out := cost.missing - cost.lacking:
        yield f"missing clips:     {left_out} questions left out"


def runs_lines(runs: Sequence[RunFolder]) -> Iterator[str]:
    """The same of several runs of one call, and what comes next for all of them, the baseline first."""
    for run in runs:
        yield f"{run.path.name}:"
        yield from (f"  {line}" for line in run_lines(run, False) if not line.startswith("next: "))
    names = sorted((run.path for run in runs), key=lambda path: path.name != "baseline")
    yield f"next: lalm-agent score {' '.join(' '.join(str(path).split()) for path in names)}"


def run_lines(run: RunFolder, is_bank: bool) -> Iterator[str]:
    """The counts of a run, where its answers are, and what comes next. is_bank: its draws are a bank's samples."""
    told, path = summarise(run), " ".join(str(run.path).split())
    yield f"{told.answers} answers: {outcome_words(told.counts)} (rule scorer)"
    if told.counts["abstained"]:
        kinds = (f"{kind.replace('_', ' ')} {count}" for kind, count in told.abstained_kinds.items() if count)
        yield f"IDK by kind: {', '.join(kinds)}"
    if told.seen:
        yield f"{told.seen} of them are about clips that the adapter was trained on; scores leave them out"
    if told.counts["failed"]:
        yield "failed questions are asked again with --retry-failed"
    if told.missing or told.faulty:
        yield f"left out: {told.missing} questions without clip, {told.faulty} faulty rows"
    yield f"run folder: {path}"
    before = "" if run.spec is None or run.spec.identity.method == "baseline" else "BASELINE "
    yield f"next: lalm-agent {f'idk curve {path}' if is_bank else f'score {before}{path}'}"
