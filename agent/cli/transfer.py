"""`lalm-agent transfer --bank BANK --model M --out STUDY`: does refusing that was learned on one modality transfer?"""

from lalm_agent.cli import eval_flags, flags, idk, transfer_flags
from lalm_agent.cli import train as train_flags


def transfer(
    out: transfer_flags.OutFlag,
    bank: transfer_flags.BankFlag = None,
    model: flags.ModelFlag = None,
    data: transfer_flags.DataFlag = None,
    data_file: transfer_flags.DataFileFlag = None,
    audio_root: eval_flags.AudioRootFlag = None,
    bank_audio: transfer_flags.BankAudioFlag = None,
    limit: eval_flags.LimitFlag = None,
    seeds: transfer_flags.SeedsFlag = 3,
    k: transfer_flags.KFlag = None,
    n: idk.NFlag = None,
    rule: transfer_flags.RuleFlag = "kn",
    target: transfer_flags.TargetFlag = "gold",
    refusals: transfer_flags.RefusalsFlag = "fixed",
    scorer: idk.ScorerFlag = "rule",
    rows: transfer_flags.RowsFlag = None,
    preset: train_flags.PresetFlag = None,
    adapt: train_flags.AdaptFlag = train_flags.Adapt.LANGUAGE_MODEL,
    target_modules: train_flags.TargetsFlag = None,
    rank: train_flags.RankFlag = None,
    alpha: train_flags.AlphaFlag = None,
    dropout: train_flags.DropoutFlag = None,
    learning_rate: train_flags.RateFlag = None,
    epochs: train_flags.EpochsFlag = None,
    max_steps: train_flags.MaxStepsFlag = None,
    batch_size: transfer_flags.TrainBatchFlag = None,
    grad_accum: train_flags.AccumFlag = None,
    also: transfer_flags.AlsoFlag = None,
    also_data: transfer_flags.AlsoDataFlag = None,
    also_limit: transfer_flags.AlsoLimitFlag = None,
    forgetting: transfer_flags.ForgettingFlag = 150,
    tried: transfer_flags.TriedFlag = None,
    jobs: transfer_flags.JobsFlag = None,
    eval_batch_size: transfer_flags.BatchFlag = 8,
    max_new_tokens: flags.MaxNewTokensFlag = None,
    max_audio_s: flags.MaxAudioFlag = None,
    skip_missing: eval_flags.SkipMissingFlag = False,
    skip_faulty: eval_flags.SkipFaultyFlag = False,
    resamples: transfer_flags.ResamplesFlag = 2000,
    report_only: transfer_flags.ReportFlag = False,
    dry_run: transfer_flags.DryRunFlag = False,
    device: flags.DeviceFlag = None,
    dtype: flags.DtypeFlag = None,
    timeout_s: flags.TimeoutFlag = None,
    trust_remote_code: flags.TrustFlag = None,
    allow_pickle: flags.PickleFlag = None,
    as_json: transfer_flags.JsonFlag = False,
    debug: flags.DebugFlag = None,
) -> int:
    """Train an adapter on each modality, with two controls and several seeds, and ask all of them everything.

    For each source modality and seed: one adapter by the rule's labels (K@N), one with all labels kept, one with as
    many IDK labels at random places. The report says where refusing transfers beyond both controls. Kill it at any
    time: the same command goes on. docs/transfer.md describes the folder.
    """
    given = dict(locals())
    from lalm_agent.cli.transfer_command import run_transfer

    return run_transfer(given)
