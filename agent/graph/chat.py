"""A conversation about one clip: a question, perhaps a question back, and the answer; on a thread that outlives it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from langgraph.types import Command

from lalm_agent.errors import DataError, UsageError
from lalm_agent.graph import Runner, fresh, question_of, thread_config
from lalm_agent.graph.checkpoints import checkpoint_errors
from lalm_agent.graph.clarify import split_choices
from lalm_agent.records import Answer, AudioRef, Failure, Question, Step, check_question


@dataclass(frozen=True, slots=True, eq=False)
class Chat:
    """Questions about a clip, one after the other. `Agent.chat` makes it.

        chat = Agent(model="mini").chat("clip.wav")
        for item in chat.say("Which animal is heard?"): ...      # steps, and the answer
        if chat.pending: ...                                     # it abstained, and asks back: the next line replies

    runner: its graph asks back, and has a checkpointer. thread_id: the checkpointer's thread.
    """

    runner: Runner
    audio: AudioRef
    thread_id: str

    @property
    def pending(self) -> str | None:
        """What the agent asks back and waits for; None where it waits for a question."""
        interrupts = self._snapshot().interrupts
        return str(interrupts[0].value["question"]) if interrupts else None

    @property
    def is_cut(self) -> bool:
        """Whether the thread was left in the middle of its work, by a kill: `go_on` ends it."""
        snapshot = self._snapshot()
        return bool(snapshot.next) and not snapshot.interrupts

    def say(self, line: str) -> Iterator[Step | Answer]:
        """Reply to what is pending, or ask `QUESTION` or `QUESTION | CHOICE | CHOICE`: each step, then the answer.

        An empty reply leaves the refusal as it is. Raises UsageError: what cannot be asked.
        """
        if self.pending is not None:
            yield from self.runner.run(Command(resume=line), self.thread_id)
            return
        text, choices = split_choices(line)
        choices = tuple(dict.fromkeys(choices))
        check_question(text, choices)
        yield from self.ask(Question(text, self.audio, choices))

    def ask(self, question: Question) -> Iterator[Step | Answer]:
        """Ask a question about the thread's clip that is known to be one that can be asked."""
        yield from self.runner.run(fresh(question, self.runner.method), self.thread_id)

    def go_on(self) -> Iterator[Step | Answer]:
        """What is left of a turn that was cut."""
        yield from self.runner.run(None, self.thread_id)

    def converse(self, lines: Iterable[str]) -> Iterator[Step | Answer | Failure]:
        """A whole conversation: what was cut first, then each line in turn. A line that cannot be asked is a failure.

        Empty lines are passed over where nothing is pending.
        """
        if self.is_cut:
            yield from self.go_on()
        for line in lines:
            if not line.strip() and self.pending is None:
                continue
            try:
                yield from self.say(line.strip())
            except UsageError as error:
                yield Failure("listen", error.message, error.hint, error.exit_code)

    def check_clip(self) -> None:
        """Refuse a thread that waits for a reply about another clip.

        Raises:
            UsageError: it does, or another version of this program left it.
            DataError: the checkpoint cannot be read.
        """
        snapshot = self._snapshot()
        if not snapshot.next:
            return
        try:
            other = question_of(snapshot.values).audio
        except (LookupError, TypeError, ValueError):
            raise UsageError(f"the thread {self.thread_id} is no chat", "name another --thread") from None
        if other.sha256 != self.audio.sha256:
            raise UsageError(
                f"the thread {self.thread_id} waits for a reply about another clip, {other.path}",
                "name that clip, or another --thread",
            )

    def _snapshot(self) -> Any:
        with checkpoint_errors(self.runner.checkpoints):
            try:
                return self.runner.graph.get_state(thread_config(self.thread_id))
            except (LookupError, TypeError, ValueError) as error:
                raise DataError(f"the thread {self.thread_id} cannot be read: {error}", "name another") from error
