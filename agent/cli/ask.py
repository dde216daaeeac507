"""`lalm-agent ask clip.wav "question" [--choice …]`: one question about one clip."""

from pathlib import Path
from typing import Annotated

import typer

from lalm_agent.cli import options


def ask(
    clip: Annotated[Path, typer.Argument(help="The audio file.", show_default=False)],
    question: Annotated[str, typer.Argument(help="What to ask about it.", show_default=False)],
    choice: Annotated[
        list[str] | None, typer.Option("--choice", "-c", help="A possible answer; give two or more, or none.")
    ] = None,
    method: options.MethodFlag = None,
    model: options.ModelFlag = None,
    tools: options.ToolsFlag = None,
    tool: options.ToolFlag = None,
    answer_mode: options.AnswerModeFlag = None,
    adapter: options.AdapterFlag = None,
    device: options.DeviceFlag = None,
    dtype: options.DtypeFlag = None,
    max_new_tokens: options.MaxNewTokensFlag = None,
    temperature: options.TemperatureFlag = None,
    seed: options.SeedFlag = None,
    max_audio_s: options.MaxAudioFlag = None,
    timeout_s: options.TimeoutFlag = None,
    trust_env: options.TrustEnvFlag = None,
    hears_audio: options.HearsAudioFlag = None,
    checkpoint: options.CheckpointFlag = None,
    trust_remote_code: options.TrustFlag = None,
    allow_pickle: options.PickleFlag = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
    debug: options.DebugFlag = None,
) -> int:
    """Answer a question about a clip, or say IDK.

    Steps are shown on stderr as they happen; the answer comes on stdout. Every setting can also stand in
    lalm-agent.toml or in the environment as LALM_<NAME>; a flag is stronger than both.
    """
    flags = {name: value for name, value in locals().items() if name not in ("clip", "question", "choice", "as_json")}
    return _ask(clip, question, tuple(choice or ()), {**flags, "preset": tools, "tools": tool}, as_json)


def _ask(clip: Path, question: str, choices: tuple[str, ...], flags: dict[str, object], as_json: bool) -> int:
    from lalm_agent.state import check_question

    check_question(question, choices)
    flags.pop("tool")
    config = options.settings_from(flags)

    import uuid

    from lalm_agent import assemble
    from lalm_agent.cli.render import print_answer, print_step

    with assemble.Agent(config) as agent:
        if config.checkpoint is None:
            answer = agent.ask(clip, question, choices, print_step)
        else:
            thread_id = uuid.uuid4().hex
            answer = agent.ask(clip, question, choices, print_step, thread_id)
            typer.echo(f"  states kept in {config.checkpoint}, thread {thread_id}", err=True)
    print_answer(answer, as_json)
    return answer.failure.exit_code if answer.failure else 0
