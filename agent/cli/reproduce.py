"""`lalm-agent reproduce --model mini --out FOLDER`: the paper's tables and figures by one command, in one report."""

from lalm_agent.cli import eval_flags, options, reproduce_flags, train_flags
from lalm_agent.cli import transfer as transfer_flags
from lalm_agent.cli.reproduce_flags import SplitName


def reproduce(
    out: reproduce_flags.OutFlag,
    model: options.ModelFlag = None,
    quick: reproduce_flags.QuickFlag = False,
    split: reproduce_flags.SplitFlag = SplitName.TEST,
    data: reproduce_flags.DataFlag = None,
    data_file: reproduce_flags.DataFileFlag = None,
    audio_root: eval_flags.AudioRootFlag = None,
    bank_data: reproduce_flags.BankDataFlag = None,
    bank_data_file: reproduce_flags.BankFileFlag = None,
    bank_audio: reproduce_flags.BankAudioFlag = None,
    also: transfer_flags.AlsoFlag = None,
    also_data: transfer_flags.AlsoDataFlag = None,
    also_limit: transfer_flags.AlsoLimitFlag = None,
    preset: train_flags.PresetFlag = None,
    tried: transfer_flags.TriedFlag = None,
    jobs: reproduce_flags.JobsFlag = None,
    report_only: reproduce_flags.ReportFlag = False,
    dry_run: reproduce_flags.DryRunFlag = False,
    device: options.DeviceFlag = None,
    dtype: options.DtypeFlag = None,
    trust_remote_code: options.TrustFlag = None,
    allow_pickle: options.PickleFlag = None,
    as_json: reproduce_flags.JsonFlag = False,
    debug: options.DebugFlag = None,
) -> int:
    """Make tables 1, 2 and 10 to 12 and figures 3 and 5 of arXiv 2505.19294, and a report of them.

    Each part is a command of this program, run in the folder of the report; the report names all of them and how long
    they took. The configuration is frozen. Kill it at any time: the same command goes on, and what is done is not
    done again.
    """
    given = dict(locals())
    from lalm_agent.cli.reproducing import reproduce_paper

    return reproduce_paper(given)
