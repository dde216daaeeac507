"""`lalm-agent eval DATA --model M --method X --out FOLDER`: a benchmark's questions, asked once and for all."""

from lalm_agent.cli import eval_flags, options
from lalm_agent.cli.eval_flags import AudioControl, ContentSource, EvalOptions, TypeSource


def evaluate(
    data: eval_flags.DataArgument,
    out: eval_flags.OutFlag,
    data_file: eval_flags.DataFileFlag = None,
    audio_root: eval_flags.AudioRootFlag = None,
    model: options.ModelFlag = None,
    method: options.MethodFlag = None,
    adapter: options.AdapterFlag = None,
    tools: eval_flags.ToolsFlag = None,
    tool: options.ToolFlag = None,
    answer_mode: options.AnswerModeFlag = None,
    limit: eval_flags.LimitFlag = None,
    modality: eval_flags.ModalityFlag = None,
    max_new_tokens: options.MaxNewTokensFlag = None,
    temperature: options.TemperatureFlag = None,
    draws: eval_flags.DrawsFlag = 1,
    seed: options.SeedFlag = None,
    shuffle_choices: eval_flags.ShuffleFlag = False,
    concurrency: eval_flags.ConcurrencyFlag = None,
    batch_size: eval_flags.BatchFlag = 1,
    device: options.DeviceFlag = None,
    dtype: options.DtypeFlag = None,
    audio: eval_flags.AudioFlag = AudioControl.REAL,
    type_source: eval_flags.TypeFlag = TypeSource.MODEL,
    content_source: eval_flags.ContentFlag = ContentSource.MODEL,
    dry_run: eval_flags.DryRunFlag = False,
    max_requests: eval_flags.MaxRequestsFlag = None,
    retry_failed: eval_flags.RetryFlag = False,
    skip_missing: eval_flags.SkipMissingFlag = False,
    skip_faulty: eval_flags.SkipFaultyFlag = False,
    max_audio_s: options.MaxAudioFlag = None,
    timeout_s: options.TimeoutFlag = None,
    trust_env: options.TrustEnvFlag = None,
    hears_audio: options.HearsAudioFlag = None,
    trust_remote_code: options.TrustFlag = None,
    allow_pickle: options.PickleFlag = None,
    as_json: eval_flags.JsonFlag = False,
    debug: options.DebugFlag = None,
) -> int:
    """Ask a benchmark's questions and keep every answer; nothing complete is ever asked again.

    The same command resumes after a kill, a full disk or Ctrl-C. Batch size, concurrency, device and a larger --limit
    are free to change; anything that decides an answer needs another --out. `lalm-agent score` reads the folder.
    """
    given = dict(locals())
    settings = {name: value for name, value in given.items() if name not in EvalOptions.names() | {"tool"}}
    from lalm_agent.cli.evaluating import evaluate_data

    return evaluate_data({**settings, "preset": tools, "tools": tool}, EvalOptions.of(given))
