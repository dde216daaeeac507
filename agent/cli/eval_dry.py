"""`lalm-agent eval --dry-run`: what a run will cost. The run's folder is read where there is one, and never written."""

import json
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import typer

from lalm_agent.cli.eval_flags import ENDPOINT, EvalOptions
from lalm_agent.cli.eval_report import say
from lalm_agent.config import AgentConfig
from lalm_agent.eval.items import Benchmark
from lalm_agent.eval.runs.estimate_cost import Cost, audio_seconds, by_trying, from_answers, requests
from lalm_agent.eval.runs.plan import Plan, make_plan
from lalm_agent.eval.runs.progress import duration
from lalm_agent.eval.runs.run import Asker
from lalm_agent.eval.runs.store import is_run, read_answers, read_items
from lalm_agent.eval.runs.stored import Key, StoredAnswer


@dataclass(frozen=True, slots=True)
class _Call:
    """What a dry run is about."""

    config: AgentConfig
    wanted: EvalOptions
    benchmark: Benchmark
    plan: Plan
    answers: dict[Key, StoredAnswer]


def dry_run(config: AgentConfig, wanted: EvalOptions, benchmark: Benchmark) -> int:
    """Print what is left to do and what it costs; the exit code.

    Raises:
        UsageError: the call is wrong.
        DataError: the data or the folder cannot be used.
        BackendError: a local model cannot be loaded.
    """
    there = is_run(wanted.out)
    items, answers = (read_items(wanted.out), read_answers(wanted.out)) if there else ([], {})
    plan = make_plan(benchmark, wanted.wanted(config.seed, config.model), items, answers)
    with ExitStack() as stack:
        cost = _cost(_Call(config, wanted, benchmark, plan, answers), stack)
    _print(cost, plan, wanted.as_json)
    return 0


def _cost(call: _Call, stack: ExitStack) -> Cost:
    from lalm_agent.cli.evaluating import make_agent

    config, works = call.config, call.plan.works
    agent, given = make_agent(config, call.wanted, call.plan, stack)
    clips = sorted({work.asked.item.audio for work in works})
    audio_s, unread = audio_seconds(call.benchmark.audio_root or Path(), clips, config.max_audio_s)
    seconds, basis = _seconds(call, agent, stack)
    return Cost(len(works), requests(works, {**agent.tool_names, **given}), audio_s, unread, seconds, basis)


def _seconds(call: _Call, agent: Any, stack: ExitStack) -> tuple[float | None, str]:
    """(seconds, what they come from)."""
    from lalm_agent.cli.evaluating import clip_source, silent_folder, stopwatch

    works, threads = call.plan.works, call.wanted.threads(call.config.model)
    if not works:
        return 0.0, "nothing is left to ask"
    known = from_answers(call.answers, len(works), threads)
    if known is not None:
        return known, f"the {len(call.answers)} answers that are there"
    if call.config.model.startswith(ENDPOINT):
        return None, "not estimated: a dry run sends nothing"
    hearable = [work for work in works if work.asked.item.id not in call.plan.lacking]
    if not hearable:
        return None, "not estimated: no clip is there"
    say("loading the model")
    agent.spec  # noqa: B018 - loading is not part of what is timed
    clip = clip_source(call.wanted, call.benchmark, call.plan, call.config, silent_folder(stack))
    per_question, tried = by_trying(hearable, Asker(agent.ask_item, clip), stopwatch)
    if per_question is None:
        return None, f"not estimated: {tried} questions failed"
    return per_question * len(works), f"asking {tried} for real, one after the other; nothing of them is kept"


def _print(cost: Cost, plan: Plan, as_json: bool) -> None:
    if as_json:
        fields = {**asdict(cost), "missing": len(plan.lacking) + len(plan.selection.missing)}
        typer.echo(json.dumps(fields, ensure_ascii=False, allow_nan=False))
        return
    seconds = cost.basis
    if cost.seconds is not None:
        seconds = f"{cost.seconds:.0f} ({duration(cost.seconds)}; from {cost.basis})"
    typer.echo(f"questions left:    {cost.questions}")
    typer.echo(f"requests:          {cost.requests}")
    typer.echo(f"audio minutes:     {cost.audio_s / 60:.1f}{f', {cost.unread} clips unread' if cost.unread else ''}")
    typer.echo(f"estimated seconds: {seconds}")
    if plan.lacking:
        typer.echo(f"missing clips:     {len(plan.lacking)} questions; the run would refuse without --skip-missing")
    if plan.selection.missing:
        typer.echo(f"missing clips:     {len(plan.selection.missing)} questions left out")
