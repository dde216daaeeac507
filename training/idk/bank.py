"""A bank: a run folder (`lalm_agent.eval.runs`) whose draws are samples, read for what its model knows."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from lalm_agent.artefacts import json_line
from lalm_agent.errors import DataError, UsageError
from lalm_agent.eval.items import Item
from lalm_agent.eval.runs.folder import is_run, read_answers, read_questions
from lalm_agent.eval.runs.records import RunIdentity
from lalm_agent.records import AudioType, Status


@dataclass(frozen=True, slots=True)
class Sample:
    """A reply as the model wrote it; confidence: length-normalised probability of the answer, in [0, 1].

    choices: in the order that this draw showed. audio_type, content: what an agent's prompt said of the clip.
    """

    reply: str
    choices: tuple[str, ...]
    confidence: float | None = None
    audio_type: AudioType | None = None
    content: str | None = None


@dataclass(frozen=True, slots=True)
class SampledQuestion:
    """A question with its samples, by the number of the draw; None where it was not asked, or the request failed.

    audio_sha256: of the clip, over the decoded samples; None where no draw could read it or another clip was played.
    """

    item: Item
    samples: tuple[Sample | None, ...]
    audio_sha256: str | None = None

    @property
    def clip(self) -> str:
        """The hash of the clip's content, or its name where the hash is not known."""
        return self.audio_sha256 or self.item.audio


@dataclass(frozen=True, slots=True)
class Bank:
    """Questions in the order of asking. audio_root: where the clips were when it was last asked, if recorded."""

    run_id: str
    identity: RunIdentity
    questions: tuple[SampledQuestion, ...]
    audio_root: str | None = None


def read_bank(folder: Path) -> Bank:
    """Read a bank; a torn last line is passed over, so that a bank can be read while it grows.

    Raises UsageError where the folder is no run, and DataError where its files are damaged or a clip changed.
    """
    if not is_run(folder):
        raise UsageError(f"{folder} is no bank", "lalm-agent idk sample DATA --model M --out FOLDER makes one")
    spec, run_items = read_questions(folder)
    answers, plays_own_clip = read_answers(folder), spec.identity.audio == "real"
    questions = []
    for run_item in run_items:
        replies = [answers.get((run_item.item.id, draw)) for draw in range(spec.identity.draws)]
        clips = {reply.audio_sha256 for reply in replies if reply and reply.audio_sha256} if plays_own_clip else set()
        if len(clips) > 1:
            message = f"the clip of question {run_item.item.id!r} changed between two draws"
            raise DataError(message, "sample into a new folder")
        samples = tuple(
            None
            if reply is None or reply.reply is None or reply.status is Status.FAILED
            else Sample(reply.reply, run_item.shown(draw), reply.confidence, reply.audio_type, reply.content)
            for draw, reply in enumerate(replies)
        )
        questions.append(SampledQuestion(run_item.item, samples, next(iter(clips), None)))
    roots = [session.audio_root for session in spec.sessions if session.audio_root is not None]
    return Bank(spec.run_id, spec.identity, tuple(questions), roots[-1] if roots else None)


def bank_sha256(bank: Bank, n: int) -> str:
    """Hash of what labels are made from: the run's id, and of each question its id, its clip and n samples.

    It does not change where the bank grows beyond n, nor with times, machines or the order of asking.
    """
    digest = hashlib.sha256(bank.run_id.encode())
    for question in sorted(bank.questions, key=lambda question: question.item.id):
        samples = [sample and [sample.reply, list(sample.choices)] for sample in question.samples[:n]]
        digest.update(json_line({"id": question.item.id, "clip": question.clip, "samples": samples}))
    return digest.hexdigest()


def require_draws(bank: Bank, n: int, what: str = "the bank") -> None:
    """Refuse more draws than the bank has. Raises UsageError with its N."""
    draws = bank.identity.draws
    if not 1 <= n <= draws:
        hint = f"--n {draws} or fewer, or lalm-agent idk sample --n {n}"
        raise UsageError(f"{what} has {draws} draws, not {n}", hint)


def keyed(seed: int, purpose: str, *names: str) -> int:
    """A number in [0, 2**64), uniform over names; the same for the same arguments, whatever the order or library."""
    text = "\0".join((purpose, str(seed), *names))
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8], "big")


def is_held_out(clip: str, share: float) -> bool:
    """Whether a clip, by the sha256 of its decoded samples, belongs to the share that no set is built from.

    It does so for every bank and model alike, a larger share holds a smaller one, and no seed moves it.
    """
    return keyed(0, "hold-out", clip) < share * 2**64
