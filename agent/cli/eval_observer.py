"""What a terminal shows while `lalm-agent eval` runs, all of it on stderr."""

from collections.abc import Iterator
from types import TracebackType
from typing import Self

from lalm_agent.eval.runs.evaluate import Observer, RunStart
from lalm_agent.eval.runs.folder import RunFolder
from lalm_agent.eval.runs.records import StoredAnswer
from lalm_agent.terminal import ProgressDisplay, say


class TerminalObserver(Observer):
    """Says what is about to be asked, shows how far it has come, and says how it ended. A context manager."""

    def __init__(self) -> None:
        """Nothing is shown yet."""
        self._start: RunStart | None = None
        self._display: ProgressDisplay | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def note(self, text: str) -> None:
        """A line."""
        self._close()
        say(text)

    def started(self, start: RunStart) -> None:
        """What is about to be asked, of whom, and what the figures will not promise."""
        identity, plan = start.identity, start.plan
        draws = f", {identity.draws} draws" if identity.draws > 1 else ""
        order = " in the order of a hash of their ids" if plan.selection.limit else ""
        version = plan.data_version or f"unknown file, sha256 {identity.data.sha256[:12]}"
        say(f"data: {identity.data.name} ({version})")
        say(f"run: {identity.run_id}: {len(plan.items)} of {len(plan.pool)} questions{order}{draws}")
        if start.there:
            say(f"resume: {start.there} answers are there, {len(plan.left)} are left")
        weights = f", weights {identity.weights_sha256[:12]}" if identity.weights_sha256 else ""
        adapter = f", adapter {identity.adapter_sha256[:12]}" if identity.adapter_sha256 else ""
        say(f"model: {identity.model}{weights}{adapter}, {identity.dtype} on {start.device}, method {identity.method}")
        say(f"tools: {', '.join(f'{node}={name}' for node, name in identity.tools.items())}")
        for note in _notes(start):
            say(f"note: {note}")
        self._start = start
        self._display = ProgressDisplay(start.tally.done, start.total, str(start.tally))

    def answered(self, answer: StoredAnswer) -> None:
        """How far it has come."""
        if self._start is not None and self._display is not None:
            self._display.show(self._start.tally.done, str(self._start.tally))

    def stopping(self, out: int) -> None:
        """A line."""
        say(f"stopping: waiting for {out} questions that are out; Ctrl-C again drops them")

    def interrupted(self, run: RunFolder) -> None:
        """What is kept."""
        self._close()
        if self._start is not None:
            kept = f"{self._start.tally.done} of {self._start.total}"
            say(f"kept {kept} answers in {run.path}; the same command goes on from there")

    def finished(self, run: RunFolder, asked: int) -> None:
        """That there was nothing to do, where that is so."""
        self._close()
        if not asked:
            say(f"nothing to do: all {len(run.items)} questions of {run.path} are answered")

    def _close(self) -> None:
        if self._display is not None:
            self._display.close()
            self._display = None


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
    if selection.faulty:
        yield f"{selection.faulty} faulty rows are left out"
