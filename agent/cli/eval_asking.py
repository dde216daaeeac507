"""The part of `lalm-agent eval` that asks, with everything checked and the model loaded."""

import os
import sys
from collections.abc import Callable
from typing import Any

from lalm_agent.cli.eval_report import Report, say
from lalm_agent.eval.items import Item
from lalm_agent.eval.runs.folder import RunFolder
from lalm_agent.eval.runs.plan import Plan
from lalm_agent.eval.runs.progress import Progress, Tally, show_progress
from lalm_agent.eval.runs.provenance import now, source_state, versions
from lalm_agent.eval.runs.run import Asker, Dropped, ask_all
from lalm_agent.eval.runs.spec import Session
from lalm_agent.eval.runs.store import AnswerLog
from lalm_agent.eval.runs.stored import Heard, StoredAnswer
from lalm_agent.eval.runs.trained import trained_clips

INTERRUPTED = 130


def ask_everything(agent: Any, folder: RunFolder, plan: Plan, clip: Callable[[Item], Heard], report: Report) -> int:
    """Write the spec, ask what is left, and say how it ended; the exit code.

    agent: an `Agent` whose model is loaded.

    Raises:
        KeyboardInterrupt: Ctrl-C; what was answered is kept.
        LalmError: the run cannot go on; what was answered is kept.
    """
    trained = trained_clips(agent.config.adapter)
    report.before(len(folder.answers))
    folder.begin(report.identity, plan, _session(agent, report))
    tally = Tally({asked.item.id: asked for asked in folder.items}, folder.answers)
    log = AnswerLog(folder.path)
    progress = show_progress(tally, len(plan.items) * report.identity.draws)
    try:
        ask_all(
            plan.works,
            Asker(agent.ask_item, clip, trained),
            _keeper(folder, log, tally, progress),
            _threads(report, agent),
            report.stopping,
        )
    except Dropped:
        progress.close()
        report.kept(folder, tally)
        log.close()
        _leave()
    except BaseException:
        progress.close()
        report.kept(folder, tally)
        raise
    finally:
        progress.close()
        log.close()
    return report.after(folder)


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
    from lalm_agent.cli.evaluating import command_line

    commit, dirty = source_state()
    return Session(
        started=now(),
        command=command_line(),
        versions=versions(),
        commit=commit,
        dirty=dirty,
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
