"""A question about a clip, of a run or of a person's own, asked again with something changed; no page is known here."""

import shlex
import threading
from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import soundfile

from lalm_agent.agent import Agent
from lalm_agent.artefacts import Record, differences
from lalm_agent.audio import load
from lalm_agent.config import AgentConfig
from lalm_agent.errors import DataError, UsageError
from lalm_agent.eval.faithfulness.chains import NoIntervention
from lalm_agent.eval.faithfulness.sound import heard_samples, noise
from lalm_agent.eval.items import Item, require_one_clip
from lalm_agent.eval.report.figures import CLIP_RATE, clip_png
from lalm_agent.eval.report.page import clip_path, clip_roots
from lalm_agent.eval.runs.controls import CONTENT_NODES, FixedText, silent_clips
from lalm_agent.eval.runs.folder import RunFolder
from lalm_agent.eval.runs.records import RunItem, StoredAnswer
from lalm_agent.graph.chat import Chat
from lalm_agent.records import Answer, AudioRef, Method, ModelInfo, Question, Step, check_question
from lalm_agent.registry import is_installed
from lalm_agent.terminal import printable, shortened

DEFAULT_MAX_S = 600.0
"""Longest clip in seconds where no setting says another."""
_KEPT_FILES = 16
_OF_RUN = ("hears_audio", "answer_mode", "max_new_tokens", "temperature", "seed", "adaptive")
_SAFE_TOOLS = {"lalm", "pocketsphinx"}
"""Tools that a run may name: others can load files or reach a network, and a run may be a stranger's."""


class Treatment(StrEnum):
    """What the model hears: the clip as it is, digital silence as long, or the clip under white noise."""

    ITSELF = "itself"
    SILENCE = "silence"
    NOISE = "noise"


@dataclass(frozen=True, slots=True)
class Draft:
    """What to ask.

    clip: a file's path. snr_db: of the noise, 10 log10(power of the clip / power of the noise).
    content: what stands in place of the transcript or caption, perhaps nothing; None for the tool's own.
    of_run: the id of the run's question that this is, or was before it was changed.
    """

    clip: str
    question: str
    choices: tuple[str, ...] = ()
    method: Method = Method.AGENT
    model: str = "mini"
    treatment: Treatment = Treatment.ITSELF
    snr_db: float = 10.0
    content: str | None = None
    of_run: str = ""


class Setup(Record):
    """What was asked, as far as it may differ between two trials. clip: in words."""

    clip: str
    question: str
    choices: tuple[str, ...]
    method: str
    model: str
    tools: dict[str, str]
    content: str | None = None


@dataclass(frozen=True, slots=True)
class Trial:
    """A question and what came of it.

    picture: waveform and spectrogram of what was heard, PNG in base64; empty where nothing draws it.
    chat: the conversation that the answer is of; None for an answer of a run.
    """

    setup: Setup
    answer: Answer
    picture: str = ""
    chat: Chat | None = None

    @property
    def asks_back(self) -> str | None:
        """What the agent asks the user, where it abstains."""
        return None if self.chat is None else self.chat.pending

    @property
    def probabilities(self) -> dict[str, float | None]:
        """The probability of each distinct choice in the order shown; None where it is not known."""
        known = dict(self.answer.option_probs)
        return {choice: known.get(choice) for choice in self.setup.choices}


@dataclass(frozen=True, slots=True)
class Difference:
    """What differs between two trials. changes, outcome: a line for each difference of setups, and of answers.

    probabilities: (choice, before, after); None where it is not known, or no such choice was shown.
    """

    changes: tuple[str, ...]
    outcome: tuple[str, ...]
    probabilities: tuple[tuple[str, float | None, float | None], ...]


class _Outcome(Record):
    status: str
    answer: str | None
    refusal: str | None
    audio_type: str | None
    content: str | None

    @classmethod
    def of(cls, answer: Answer) -> "_Outcome":
        same = {name: getattr(answer, name) for name in ("status", "answer", "audio_type", "content")}
        return cls(**same, refusal=answer.abstention and answer.abstention.words)


def difference(before: Trial, after: Trial) -> Difference:
    """What was changed between two trials, and what that changed."""
    then, now = before.probabilities, after.probabilities
    places = ("before", "after")
    return Difference(
        tuple(differences(before.setup, after.setup, places=places)),
        tuple(differences(_Outcome.of(before.answer), _Outcome.of(after.answer), places=places)),
        tuple((choice, then.get(choice), now.get(choice)) for choice in dict.fromkeys([*then, *now])),
    )


def choices_text(choices: Sequence[str]) -> str:
    """Choices to edit, one a line, each as one safe line."""
    return "\n".join(printable(choice, one_line=True) for choice in choices)


def edited(text: str, shown: str, original: Any, changed: Any) -> Any:
    """The original where its shown text was left as it was, which may say less than the original; else the change."""
    return original if text.strip() == shown.strip() else changed


class Workbench:
    """Asks drafts by agents that share their models; for several threads.

    config: settings of every agent; a draft changes method and model. folder: for clips that are made here.
    others: further models that a draft may name. run, audio_root: a run whose questions are asked again, and the folder
    of its clips, by default where the run found them.

    Raises DataError where the folder holds no run, or a damaged one.
    """

    def __init__(
        self,
        config: AgentConfig,
        folder: Path,
        others: Sequence[str] = (),
        run: Path | None = None,
        audio_root: Path | None = None,
    ) -> None:
        if "max_audio_s" not in config.model_fields_set:
            config = config.model_copy(update={"max_audio_s": DEFAULT_MAX_S})
        self.config, self.folder = config, folder
        self.models = tuple(dict.fromkeys([config.model, *others]))
        self.methods = tuple(method for method in Method if method is not Method.LORA or config.adapter is not None)
        self.run = None if run is None else _Run(run, audio_root)
        self._agents: dict[str, Agent] = {}
        self._lock = threading.Lock()

    @property
    def not_taken_over(self) -> tuple[str, ...]:
        """What the run had, and its questions are asked again without: a line on each, with the flag that names it."""
        if self.run is None:
            return ()
        identity = self.run.spec.identity
        named = f"--model {shlex.quote(identity.model)}"
        had = {
            f"model: {named} asks it, and {self.config.model} is asked in its place": identity.model not in self.models,
            "tools: --tool NODE=NAME takes one": not set(identity.tools.values()) <= _SAFE_TOOLS
            and identity.tools != self.config.tools,
            "adapter: --adapter FOLDER takes it": identity.adapter_sha256 is not None and self.config.adapter is None,
            "policy: --policy FILE takes it": identity.policy is not None and self.config.policy is None,
        }
        return tuple(f"left out of the run is its {line}" for line, is_missing in had.items() if is_missing)

    def ask(self, draft: Draft) -> Iterator[Step | Trial]:
        """Each step as it ends, and then the trial.

        Raises:
            UsageError: a model or method that is not offered, a question that cannot be asked, a text in place of the
                content for a method that has none, or noise over a silent clip.
            DataError: a clip that cannot be used; and what loading the model raises.
        """
        if draft.model not in self.models:
            raise UsageError(f"the model {draft.model!r} is not offered", "start the workbench with it")
        if draft.method not in self.methods:
            raise UsageError(f"the method {draft.method} needs an adapter", "start the workbench with --adapter")
        if draft.content is not None and draft.method is not Method.AGENT:
            raise UsageError(f"the method {draft.method} has no transcript and no caption", "choose the method agent")
        check_question(draft.question, draft.choices, empty_choices=bool(draft.of_run))
        config = self._config(draft)
        if config.answer_mode == "score" and not draft.choices:
            raise UsageError("there is nothing to score in an open question", "give choices")
        with self._lock:
            path = self._heard(draft)
        chat = self._agent(config, draft).chat(path)
        question = Question(draft.question.strip(), chat.audio, draft.choices, draft.of_run)
        name = Path(draft.clip).name
        words = {Treatment.SILENCE: "silence", Treatment.NOISE: f"{name} {draft.snr_db:g} dB above white noise"}
        for item in chat.ask(question):
            if isinstance(item, Step):
                yield item
            else:
                setup = _setup(draft, item, words.get(draft.treatment, name), draft.model)
                yield Trial(setup, item, self._picture(item.audio.path), chat)

    def reply(self, trial: Trial, text: str) -> Iterator[Step | Trial]:
        """Reply to what the agent asked back: each step that is done again, and then the new trial."""
        assert trial.chat is not None
        for item in trial.chat.say(text):
            yield item if isinstance(item, Step) else replace(trial, answer=item)

    def of_run(self, id: str) -> tuple[Draft, Trial]:
        """The run's question as a draft, and the run's answer to it.

        Raises UsageError for no such question, DataError where its clip is not there.
        """
        run = self.run
        if run is None or id not in run.items:
            raise UsageError(f"the run has no question {printable(id, one_line=True)!r}", "give the id of one")
        run_item, stored = run.items[id], run.answers.get(id)
        if stored is None:
            raise UsageError(f"the run has no answer to {id!r} yet", "ask another one")
        require_one_clip([run_item.item], "the workbench", "ask another one")
        path, identity = str(run.clip(run_item.item.audio)), run.spec.identity
        model = identity.model if identity.model in self.models else self.config.model
        method = Method(identity.method)
        method = method if method in self.methods else Method.BASELINE
        draft = Draft(path, run_item.item.question, run_item.shown(0), method, model, of_run=id)
        answer = _answer_of(stored, run_item, run)
        clip = Path(run_item.item.audio).name
        if identity.audio != "real":
            clip = stored.heard_clip or "silence"
        setup = _setup(draft, answer, clip, identity.model)
        return draft, Trial(setup, answer, self._picture(path) if identity.audio == "real" else "")

    def _agent(self, config: AgentConfig, draft: Draft) -> Agent:
        """The agent of a draft; one whose content is replaced is not kept."""
        key = config.model_dump_json()
        with self._lock:
            if key not in self._agents:
                loaded = config.model, config.hears_audio
                same = (a for a in self._agents.values() if (a.config.model, a.config.hears_audio) == loaded)
                self._agents[key] = Agent(config, beside=next(same, None))
            agent = self._agents[key]
        if draft.content is None:
            return agent
        text = FixedText("replaced", {draft.of_run: draft.content})
        return Agent(config, tools=dict.fromkeys(CONTENT_NODES, text), beside=agent)

    def _config(self, draft: Draft) -> AgentConfig:
        """The settings of a draft; for a run's question those of the run but for unsafe ones: see `_SAFE_TOOLS`."""
        own = self.config
        changes: dict[str, Any] = {"model": draft.model, "method": draft.method, "policy_unchecked": True}
        if self.run is not None and draft.of_run:
            identity = self.run.spec.identity
            changes |= {name: getattr(identity, name) for name in _OF_RUN}
            if set(identity.tools.values()) <= _SAFE_TOOLS:
                changes["tools"] = dict(identity.tools)
        if draft.method is not Method.AGENT:
            changes["adaptive"] = None
        if draft.method not in (Method.LORA, own.method):
            changes["adapter"] = None
        return own.model_copy(update=changes)

    def _heard(self, draft: Draft) -> str:
        """The file that is heard. Only the newest of those that are made here are kept."""
        if draft.treatment is Treatment.ITSELF:
            return draft.clip
        folder, limit = self.folder / "changed", self.config.max_audio_s
        folder.mkdir(mode=0o700, exist_ok=True)
        if draft.treatment is Treatment.SILENCE:
            clip = Path(draft.clip)
            path = silent_clips(clip.parent, folder, limit)(Item("", clip.name, "", (), None)).path
        else:
            sound = load(draft.clip, limit)
            try:
                samples = noise(heard_samples(sound), draft.snr_db)
            except NoIntervention as error:
                raise UsageError(str(error), "choose silence, or another clip") from error
            path = str(folder / f"{sound.ref.sha256[:16]}-{draft.snr_db:g}.wav")
            soundfile.write(path, samples, sound.ref.rate, subtype="FLOAT")
        for old in sorted(folder.iterdir(), key=lambda file: file.stat().st_mtime_ns)[:-_KEPT_FILES]:
            old.unlink(missing_ok=True)
        return path

    def _picture(self, path: str) -> str:
        if not is_installed("matplotlib"):
            return ""
        try:
            return b64encode(clip_png(load(path, self.config.max_audio_s).mono(CLIP_RATE))).decode()
        except DataError:
            return ""


class _Run:
    """A run's questions and first draws by the question's id, and where its clips are."""

    def __init__(self, folder: Path, audio_root: Path | None) -> None:
        with RunFolder(folder, writes=False) as run:
            if run.spec is None:
                raise DataError(f"{folder} is no run", "give the folder that `lalm-agent eval` wrote")
            self.folder, self.spec = folder, run.spec
            self.items = {run_item.item.id: run_item for run_item in run.items}
            self.answers = {id: answer for (id, draw), answer in run.answers.items() if draw == 0}
        self._roots = clip_roots([self.spec], audio_root)
        self.clips = list(dict.fromkeys(run_item.item.audio for run_item in self.items.values()))

    def label(self, id: str) -> str:
        """A question in a list."""
        answer = self.answers.get(id)
        return shortened(f"{id} · {answer.status if answer else 'no answer'} · {self.items[id].item.question}", 90)

    def clip(self, audio: str) -> Path:
        """The file of a clip of the run. Raises DataError where the run has no such clip, or it is not there."""
        if audio not in self.clips:
            raise DataError("the run has no such clip", "choose one of the list")
        return clip_path(self._roots, audio)


def _setup(draft: Draft, answer: Answer, clip: str, model: str) -> Setup:
    return Setup(
        clip=clip,
        question=draft.question,
        choices=draft.choices,
        method=answer.method,
        model=model,
        tools=answer.tools,
        content=draft.content,
    )


def _answer_of(stored: StoredAnswer, run_item: RunItem, run: _Run) -> Answer:
    """What a run kept as the answer that it was; rate and channels of its clip are not known."""
    identity, shown = run.spec.identity, run_item.shown(0)
    same = {field.name for field in fields(Answer)} & {field.name for field in fields(StoredAnswer)}
    values = {name: getattr(stored, name) for name in same - {"steps", "choice", "option_probs"}}
    known = dict(zip(run_item.item.choices, stored.option_probs or (), strict=False))
    answering = Step("answer", "", stored.prompt, stored.reply, 0.0, raw=stored.raw, responder=stored.responder)
    steps = [Step(tool="", **{f.name: getattr(step, f.name) for f in fields(step)}) for step in stored.steps]
    steps += [answering] if stored.prompt is not None or stored.reply is not None else []
    return Answer(
        **{**values, "heard_s": stored.heard_s or (0.0, 0.0)},
        choice=None if stored.choice is None else shown.index(run_item.item.choices[stored.choice]),
        option_probs=tuple((choice, p) for choice in dict.fromkeys(shown) if (p := known.get(choice)) is not None),
        audio=AudioRef(run_item.item.audio, stored.audio_sha256 or "", stored.audio_s or 0.0, 0, 0),
        method=Method(identity.method),
        tools=dict(identity.tools),
        model=ModelInfo(identity.model, identity.revision, identity.weights_sha256, identity.adapter_sha256),
        steps=tuple(replace(step, tool=identity.tools.get(step.node, "")) for step in steps),
    )
