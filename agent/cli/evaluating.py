"""What `lalm-agent eval` does, step by step; everything is checked before a model is loaded."""

import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from lalm_agent.cli import options
from lalm_agent.cli.eval_flags import ENDPOINT, EvalOptions
from lalm_agent.cli.eval_identity import identity_of, loaded_identity
from lalm_agent.cli.eval_report import Report, say
from lalm_agent.config import AgentConfig
from lalm_agent.errors import UsageError
from lalm_agent.eval.items import Benchmark, Item
from lalm_agent.eval.runs.plan import Plan, check_clips, make_plan
from lalm_agent.eval.runs.spec import RunIdentity
from lalm_agent.eval.runs.stored import Heard
from lalm_agent.records import Method

BANK_TEMPERATURE = 1.0
"""The model's own distribution. The paper does not print its temperature (arXiv 2505.19294, section 5.1)."""


def evaluate_data(flags: dict[str, Any], wanted: EvalOptions) -> int:
    """Run `lalm-agent eval`; the exit code.

    Raises:
        UsageError: the call is wrong, or the folder is another run's.
        DataError: the data or the folder cannot be used.
        BackendError: the model cannot.
        KeyboardInterrupt: Ctrl-C; what was answered is kept.
    """
    config = _config(flags, wanted)
    from lalm_agent.artefacts import MismatchError
    from lalm_agent.eval.benchmarks import load_benchmark

    benchmark = load_benchmark(wanted.data, wanted.data_file, wanted.audio_root)
    if wanted.dry_run:
        from lalm_agent.cli.eval_dry import dry_run

        return dry_run(config, wanted, benchmark)
    with ExitStack() as stack:
        try:
            return run_folder(config, wanted, benchmark, stack)
        except MismatchError as error:
            for line in error.fields:
                say(f"differs: {line}")
            raise


def _config(flags: dict[str, Any], wanted: EvalOptions) -> AgentConfig:
    config: AgentConfig = options.settings_from(flags)
    if "preset" not in config.model_fields_set:
        config = config.model_copy(update={"preset": "paper"})
    if wanted.bank and "temperature" not in config.model_fields_set:
        config = config.model_copy(update={"temperature": BANK_TEMPERATURE})
    if wanted.draws > 1 and config.temperature == 0:
        raise UsageError(f"{wanted.draws} draws without a temperature would all be the same", "give --temperature 0.7")
    if wanted.bank and config.answer_mode != "generate":
        raise UsageError("a bank is sampled, and scored choices are not", "answer by generating")
    _check_given(config, wanted, flags)
    # A failed node has to end its question, not the run.
    return config.model_copy(update={"debug": False})


def _check_given(config: AgentConfig, wanted: EvalOptions, flags: dict[str, Any]) -> None:
    """Refuse `--type` and `--content` where there is no such step, or where a flag names its tool as well."""
    sources = {"type": ("--type", wanted.type_source)}
    sources |= {node: ("--content", wanted.content_source) for node in ("asr", "caption")}
    given = {node: (flag, source) for node, (flag, source) in sources.items() if source != "model"}
    if given and config.method is not Method.AGENT:
        raise UsageError(f"--type and --content need the steps of the agent, not {config.method}", "--method agent")
    from lalm_agent.settings import parse_tools

    for node in parse_tools(flags.get("tools") or (), "--tool"):
        if node in given:
            flag, source = given[node]
            raise UsageError(f"{flag} {source} and --tool {node}=… both fill the node {node}", "give one of the two")


def run_folder(
    config: AgentConfig,
    wanted: EvalOptions,
    benchmark: Benchmark,
    stack: ExitStack,
    model: Any = None,
    speaking: Callable[[EvalOptions, RunIdentity, Plan, str], Report] = Report,
) -> int:
    """Ask what is left of a run folder; the exit code.

    model: a loaded model in place of that of the settings. speaking: what says how it goes.

    Raises:
        As `evaluate_data`, and MismatchError where the folder is another run's.
    """
    from lalm_agent.cli.eval_asking import ask_everything, refuse_answered
    from lalm_agent.eval.runs.folder import RunFolder

    folder = stack.enter_context(RunFolder(wanted.out))
    plan = make_plan(benchmark, wanted.wanted(config.seed, config.model), folder.items, folder.answers)
    check_clips(plan)
    clip = clip_source(wanted, benchmark, plan, config, wanted.out)
    agent, given = make_agent(config, wanted, plan, stack, model)
    identity = identity_of(agent, wanted, benchmark, given)
    folder.check(identity, loaded=False)
    if model is None and (plan.works or folder.spec is None):
        say("loading the model")
    # Also for a finished run: weights that changed under the same name make it another run.
    identity = loaded_identity(identity, agent.spec)
    folder.check(identity)
    refuse_answered(folder, config.model)
    identity = folder.grown(identity)
    report = speaking(wanted, identity, plan, agent.spec.device)
    if not plan.works and folder.spec is not None:
        return report.nothing_to_do(folder)
    return ask_everything(agent, folder, plan, clip, report)


def clip_source(
    wanted: EvalOptions, benchmark: Benchmark, plan: Plan, config: AgentConfig, folder: Path
) -> Callable[[Item], Heard]:
    """What is heard for a question, by `--audio`. `folder`: where silent clips may be written.

    Raises:
        UsageError: the data have a single clip, and it is to be swapped.
    """
    from lalm_agent.eval.runs.blind import Real, Silence, Swap
    from lalm_agent.eval.runs.store import SILENCE

    root = benchmark.audio_root or Path()
    if wanted.audio == "silence":
        return Silence(root, folder / SILENCE, config.max_audio_s)
    if wanted.audio == "swap":
        return Swap(root, plan.pool, plan.absent, config.seed, config.max_audio_s)
    return Real(root)


def make_agent(
    config: AgentConfig, wanted: EvalOptions, plan: Plan, stack: ExitStack, model: Any = None
) -> tuple[Any, dict[str, str]]:
    """An agent that has not loaded its model yet, and the names of the tools that are given by the data.

    model: a loaded one for it.

    Raises:
        UsageError: a node or tool that does not exist, or data that give no content.
    """
    from lalm_agent.assemble import Agent
    from lalm_agent.eval.runs.given import given_tools
    from lalm_agent.models.wrappers import Budget, CachedResponses, WithBudget

    budget = Budget(wanted.max_requests)
    given = given_tools(plan.pool, wanted.type_source, wanted.content_source, config.seed)

    def wrap(model: Any) -> Any:
        counted = WithBudget(model, budget)
        if wanted.dry_run or not config.model.startswith(ENDPOINT):
            return counted
        from lalm_agent.eval.runs.store import RESPONSES

        cached = CachedResponses(counted, wanted.out / RESPONSES)
        stack.callback(cached.close)
        return cached

    agent = Agent(config, model=model, tools={**config.tools, **given}, batch_rows=wanted.batch_size, wrap=wrap)
    return agent, {node: tool.name for node, tool in given.items()}


def silent_folder(stack: ExitStack) -> Path:
    """A folder that goes away, for the silent clips of a dry run."""
    return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lalm-agent-")))


def stopwatch() -> float:
    """Seconds on a clock that only goes forward."""
    return time.monotonic()
