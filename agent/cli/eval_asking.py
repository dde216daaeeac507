"""The part of `lalm-agent eval` that asks, with everything checked and the model loaded."""

import os
import sys
from collections.abc import Callable, Container
from pathlib import Path
from typing import Any

from lalm_agent.audio import load
from lalm_agent.cli.eval_report import Report, say
from lalm_agent.errors import LalmError
from lalm_agent.eval.items import Item, audio_file
from lalm_agent.eval.runs.folder import RunFolder
from lalm_agent.eval.runs.plan import Plan
from lalm_agent.eval.runs.progress import Progress, Tally
from lalm_agent.eval.runs.run import Asker, Dropped, ask_all
from lalm_agent.eval.runs.spec import Session
from lalm_agent.eval.runs.store import AnswerLog
from lalm_agent.eval.runs.stored import Heard, StoredAnswer
from lalm_agent.eval.runs.trained import PretrainedError, refuse_pretrained, trained_clips
from lalm_agent.models.pretrained_clips import pretrained_clips_of

INTERRUPTED = 130


def ask_everything(agent: Any, folder: RunFolder, plan: Plan, clip: Callable[[Item], Heard], report: Report) -> int:
    """Write the spec, ask what is left, and say how it ended; the exit code.

    agent: an `Agent` whose model is loaded.

    Raises:
        KeyboardInterrupt: Ctrl-C; what was answered is kept.
        PretrainedError: the model was pretrained on some of the clips.
        LalmError: the run cannot go on; what was answered is kept.
    """
    trained, pretrained = trained_clips(agent.config.adapter), pretrained_clips_of(agent.config.model)
    report.before(len(folder.answers))
    folder.begin(report.identity, plan, _session(agent, report))
    tally = Tally({asked.item.id: asked for asked in folder.items}, folder.answers)
    log = AnswerLog(folder.path)
    progress = report.progress(tally, len(plan.items) * report.identity.draws)
    try:
        ask_all(
            plan.works,
            Asker(agent.ask_item, clip, trained, pretrained),
            _keeper(folder, log, tally, progress),
            _threads(report, agent),
            report.stopping,
        )
    except Dropped:
        progress.close()
        report.kept(folder, tally)
        log.close()
        _leave()
    except PretrainedError:
        progress.close()
        refuse_all_pretrained(pretrained, plan, agent.config)
        raise
    except BaseException:
        progress.close()
        report.kept(folder, tally)
        raise
    finally:
        progress.close()
        log.close()
    return report.after(folder)


def refuse_answered(folder: RunFolder, model: str) -> None:
    """Refuse a run with answers about clips that the model was pretrained on, as earlier versions made them.

    Raises:
        PretrainedError: with the number of such clips.
    """
    heard = (answer.audio_sha256 for answer in folder.answers.values())
    refuse_pretrained(pretrained_clips_of(model), heard, model, str(folder.path))


def refuse_all_pretrained(pretrained: Container[str], plan: Plan, config: Any) -> None:
    """Hash every clip of a run that is refused for one of them, to say how many there are.

    Raises:
        PretrainedError: with that number and the names of the first.
    """
    say("a clip of the pretraining was met; counting them")
    names = sorted({asked.item.audio for asked in plan.items})
    root = plan.audio_root or Path()
    found = [name for name in names if _sha256(audio_file(root, name), config.max_audio_s) in pretrained]
    if found:
        raise PretrainedError(found, len(names), config.model, "the data")


def _sha256(path: Path, max_s: float) -> str:
    """Of a clip; empty where it cannot be read."""
    try:
        return load(path, max_s).ref.sha256
    except LalmError:
        return ""


def _keeper(folder: RunFolder, log: AnswerLog, tally: Tally, progress: Progress) -> Callable[[StoredAnswer], None]:
    def keep(answer: StoredAnswer) -> None:
        log.append(answer)
        folder.answers[answer.key] = answer
        tally.add(answer)
        progress.update()

    return keep


def _threads(report: Report, agent: Any) -> int:
    return report.wanted.threads(agent.config.model)


def _session(agent: Any, report: Report) -> Session:
    return Session.starting(
        device=report.device,
        batch_size=report.wanted.batch_size,
        concurrency=_threads(report, agent),
        audio_root=None if report.plan.audio_root is None else str(report.plan.audio_root.resolve()),
    )


def _leave() -> None:
    """End at once: threads that still compute must not run into an interpreter that is being taken down."""
    say("interrupted")
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(INTERRUPTED)
