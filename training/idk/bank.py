"""A bank: a run folder (`lalm_agent.eval.runs`) whose draws are samples, read for what its model knows."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lalm_agent.artefacts import SPEC, json_line
from lalm_agent.errors import DataError, UsageError
from lalm_agent.eval.items import Item
from lalm_agent.eval.runs.folder import is_run, read_answers, read_items
from lalm_agent.eval.runs.records import Key, RunIdentity, RunItem, StoredAnswer, read_spec
from lalm_agent.records import AudioType, Status


@dataclass(frozen=True, slots=True)
class Sample:
    """One sampled reply.

    reply: as the model wrote it. choices: in the order in which this draw showed them.
    confidence: length-normalised probability of the answer given, in [0, 1]; None where there is none.
    audio_type, content: what the agent's prompt was given; None for the baseline's.
    """

    reply: str
    choices: tuple[str, ...]
    confidence: float | None = None
    audio_type: AudioType | None = None
    content: str | None = None


@dataclass(frozen=True, slots=True)
class Drawn:
    """A question with its samples.

    samples: by the number of the draw; None where it has not been asked, or where the request failed: neither is a
        reply, and neither says anything about what the model knows.
    audio_sha256: of the clip, over the decoded samples; None where no draw could read it or another clip was heard.
    """

    item: Item
    samples: tuple[Sample | None, ...]
    audio_sha256: str | None = None

    @property
    def clip(self) -> str:
        """What the clip is known by: its content, or its name where that is not known."""
        return self.audio_sha256 or self.item.audio


@dataclass(frozen=True, slots=True)
class Bank:
    """A bank read whole.

    questions: in the order of asking. audio_root: where the clips were when it was last asked; None if not recorded.
    """

    run_id: str
    identity: RunIdentity
    questions: tuple[Drawn, ...]
    audio_root: str | None = None

    @property
    def draws(self) -> int:
        """How many samples of each question were asked for."""
        return self.identity.draws


def read_bank(folder: Path) -> Bank:
    """Read a bank; a torn last line is passed over, so that one can be read while it grows.

    Raises:
        UsageError: the folder is no run, or one that was not sampled.
        DataError: its files are damaged, or a question's clip changed between two draws.
    """
    if not is_run(folder):
        raise UsageError(f"{folder} is no bank", "lalm-agent idk sample DATA --model M --out FOLDER makes one")
    spec = read_spec(folder / SPEC)
    answers = read_answers(folder)
    own_clip = spec.identity.audio == "real"
    questions = tuple(_drawn(asked, answers, spec.identity.draws, own_clip) for asked in read_items(folder))
    roots = [session.audio_root for session in spec.sessions if session.audio_root is not None]
    return Bank(spec.run_id, spec.identity, questions, roots[-1] if roots else None)


def bank_sha256(bank: Bank, n: int) -> str:
    """Hash of what labels are made from: the run's id, and of each question its id, its clip and n samples.

    It does not change where the bank grows beyond n, nor with times, machines or the order of asking.
    """
    digest = hashlib.sha256(bank.run_id.encode())
    for question in sorted(bank.questions, key=lambda one: one.item.id):
        samples = [None if one is None else [one.reply, list(one.choices)] for one in question.samples[:n]]
        digest.update(json_line({"id": question.item.id, "clip": question.clip, "samples": samples}))
    return digest.hexdigest()


def require_draws(bank: Bank, n: int, what: str = "the bank") -> None:
    """Refuse more draws than were ever asked for.

    Raises:
        UsageError: with the N that it has.
    """
    if not 1 <= n <= bank.draws:
        raise UsageError(
            f"{what} has {bank.draws} draws, not {n}", f"--n {bank.draws} or fewer, or lalm-agent idk sample --n {n}"
        )


def _drawn(asked: RunItem, answers: Mapping[Key, StoredAnswer], draws: int, own_clip: bool) -> Drawn:
    found = [answers.get((asked.item.id, draw)) for draw in range(draws)]
    clips = {one.audio_sha256 for one in found if one is not None and one.audio_sha256 is not None}
    if own_clip and len(clips) > 1:
        raise DataError(
            f"the clip of question {asked.item.id!r} changed between two draws", "sample into a new folder"
        )
    return Drawn(asked.item, _samples(asked, found), clips.pop() if own_clip and clips else None)


def _samples(asked: RunItem, found: Sequence[StoredAnswer | None]) -> tuple[Sample | None, ...]:
    return tuple(
        None
        if one is None or one.reply is None or one.status is Status.FAILED
        else Sample(one.reply, asked.shown(draw), one.confidence, one.audio_type, one.content)
        for draw, one in enumerate(found)
    )
