"""`lalm-agent ask clip.wav "question" [--choice …]`: one question about one clip."""

from pathlib import Path
from typing import Annotated

import typer

from lalm_agent.cli import flags
from lalm_agent.cli.flags import settings_from


def ask(
    clip: Annotated[Path, typer.Argument(help="The audio file.", show_default=False)],
    question: Annotated[str, typer.Argument(help="What to ask about it.", show_default=False)],
    choice: Annotated[
        list[str] | None, typer.Option("--choice", "-c", help="A possible answer; give two or more, or none.")
    ] = None,
    method: flags.MethodFlag = None,
    model: flags.ModelFlag = None,
    tools: flags.ToolsFlag = None,
    tool: flags.ToolFlag = None,
    answer_mode: flags.AnswerModeFlag = None,
    adapter: flags.AdapterFlag = None,
    device: flags.DeviceFlag = None,
    dtype: flags.DtypeFlag = None,
    max_new_tokens: flags.MaxNewTokensFlag = None,
    temperature: flags.TemperatureFlag = None,
    seed: flags.SeedFlag = None,
    max_audio_s: flags.MaxAudioFlag = None,
    timeout_s: flags.TimeoutFlag = None,
    trust_env: flags.TrustEnvFlag = None,
    hears_audio: flags.HearsAudioFlag = None,
    checkpoint: flags.CheckpointFlag = None,
    trust_remote_code: flags.TrustFlag = None,
    allow_pickle: flags.PickleFlag = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
    debug: flags.DebugFlag = None,
) -> int:
    """Answer a question about a clip, or say IDK.

    Steps are shown on stderr as they happen; the answer comes on stdout. Every setting can also stand in
    lalm-agent.toml or in the environment as LALM_<NAME>; a flag is stronger than both.
    """
    given = {name: value for name, value in locals().items() if name not in ("clip", "question", "choice", "as_json")}
    return _ask(clip, question, tuple(choice or ()), {**given, "preset": tools, "tools": tool}, as_json)


def _ask(clip: Path, question: str, choices: tuple[str, ...], settings: dict[str, object], as_json: bool) -> int:
    from lalm_agent.state import check_question

    check_question(question, choices)
    settings.pop("tool")
    config = settings_from(settings)

    import uuid

    from lalm_agent.agent import Agent
    from lalm_agent.cli.view import print_answer, print_step

    with Agent(config) as agent:
        thread_id = None if config.checkpoint is None else uuid.uuid4().hex
        answer = agent.ask(clip, question, choices, print_step, thread_id)
    if thread_id is not None:
        typer.echo(f"  states kept in {config.checkpoint}, thread {thread_id}", err=True)
    print_answer(answer, as_json)
    return answer.failure.exit_code if answer.failure else 0
