"""Where the parts of a transfer study lie in its folder."""

from dataclasses import dataclass
from pathlib import Path

from lalm_agent.training.transfer.arms import Job

BASELINE = "baseline"


@dataclass(frozen=True, slots=True)
class StudyFolder:
    """The paths of a study; nothing is read or made here."""

    path: Path

    @property
    def spec(self) -> Path:
        """What the study is (`StudySpec`)."""
        return self.path / "spec.json"

    @property
    def lock(self) -> Path:
        """Held by the process that runs the study."""
        return self.path / "lock"

    @property
    def report(self) -> Path:
        """The figures (`StudyReport`)."""
        return self.path / "study.json"

    @property
    def markdown(self) -> Path:
        """The report to read."""
        return self.path / "study.md"

    @property
    def heatmap(self) -> Path:
        """Figure 3 of the paper, with its controls."""
        return self.path / "heatmap.svg"

    @property
    def sets(self) -> Path:
        """Folder of the IDK sets."""
        return self.path / "sets"

    @property
    def adapters(self) -> Path:
        """Folder of the adapters."""
        return self.path / "adapters"

    @property
    def runs(self) -> Path:
        """Folder of the run folders over the evaluation data."""
        return self.path / "runs"

    @property
    def also(self) -> Path:
        """Folder of other benchmarks' runs, one folder a benchmark."""
        return self.path / "also"

    @property
    def forgetting(self) -> Path:
        """Folder of the probes for forgetting."""
        return self.path / "forgetting"

    def idk_set(self, job: Job) -> Path:
        """Rows that an adapter is trained on; the manifest lies beside them with `.meta.json` behind the name."""
        return self.sets / f"{job.name}.jsonl"

    def adapter(self, job: Job) -> Path:
        """A PEFT folder of `lalm_agent.training.lora`."""
        return self.adapters / job.name

    def run(self, job: Job) -> Path:
        """Run folder of an adapter over the evaluation data, all modalities."""
        return self.runs / job.name

    @property
    def baseline(self) -> Path:
        """Run folder of the model without an adapter over the evaluation data."""
        return self.runs / BASELINE

    def also_run(self, benchmark: str, job: Job) -> Path:
        """Run folder of an adapter over another benchmark."""
        return self.also / benchmark / job.name

    def also_baseline(self, benchmark: str) -> Path:
        """Run folder of the model without an adapter over another benchmark."""
        return self.also / benchmark / BASELINE

    @property
    def forgetting_before(self) -> Path:
        """The probe of the model without an adapter."""
        return self.forgetting / "before.json"

    def forgetting_after(self, job: Job) -> Path:
        """The probe of an adapter."""
        return self.forgetting / f"{job.name}.json"
