"""A study in which no adapter was begun may become another one: nothing that took long is lost by it.

So a call whose first adapter fails (targets that match nothing, a rate that gives no finite loss) can be corrected
with the same folder. What the model without an adapter was asked stays, and only what an adapter is made of may differ.
"""

import shutil
from dataclasses import dataclass

from lalm_agent.errors import DataError
from lalm_agent.training.lora.adapter import CHECKPOINTS, CONFIG
from lalm_agent.training.transfer.layout import StudyFolder
from lalm_agent.training.transfer.spec import StudyIdentity, StudySpec, read_spec, refuse_other

OF_ADAPTERS = ("labels", "preset", "recipe", "arms")
"""The fields of the identity that no answer of the model without an adapter depends on."""


@dataclass(frozen=True, slots=True)
class Begun:
    """What there is of a study. adapters: one is trained, or has a checkpoint. asked: there are answers or probes."""

    adapters: bool
    asked: bool

    @classmethod
    def of(cls, folder: StudyFolder) -> "Begun":
        """Look into a folder."""
        trained = (f"*/{CONFIG}", f"*/{CHECKPOINTS}/*")
        return cls(
            adapters=any(True for pattern in trained for _ in folder.adapters.glob(pattern)),
            asked=any(
                path.stat().st_size > 0
                for place, pattern in ((folder.runs, "*"), (folder.also, "*/*"))
                for path in place.glob(f"{pattern}/answers.jsonl")
            )
            or any(True for _ in folder.forgetting.glob("*.json")),
        )


def spec_there(folder: StudyFolder) -> StudySpec | None:
    """What a folder's study is; None where there is none, or where nothing of it was done.

    Raises:
        DataError: it is damaged.
    """
    there = read_spec(folder.spec) if folder.spec.is_file() else None
    begun = Begun.of(folder)
    return there if begun.adapters or begun.asked else None


def require_same(folder: StudyFolder, there: StudySpec, identity: StudyIdentity) -> None:
    """Refuse another study, unless it differs only in what an adapter is made of and no adapter was begun.

    Raises:
        MismatchError: with all differences.
    """
    as_there = {name: getattr(there.identity, name) for name in OF_ADAPTERS}
    replaceable = not Begun.of(folder).adapters
    refuse_other(folder.path, there, identity.model_copy(update=as_there) if replaceable else identity)


def clear(folder: StudyFolder, identity: StudyIdentity) -> bool:
    """Remove what another study has left that may be replaced; whether there was any. The folder is locked.

    Raises:
        MismatchError: it may not be: another process has worked on it since it was looked at.
        DataError: something cannot be removed.
    """
    if not folder.spec.is_file() or (there := read_spec(folder.spec)).study_id == identity.study_id:
        return False
    begun = Begun.of(folder)
    if begun.adapters or begun.asked:
        require_same(folder, there, identity)
    if begun.adapters:
        return False
    stale = [folder.sets, folder.adapters]
    if not begun.asked:
        stale += [folder.runs, folder.also, folder.forgetting]
    try:
        for path in stale:
            if path.exists():
                shutil.rmtree(path)
        for path in (folder.report, folder.markdown, folder.heatmap):
            path.unlink(missing_ok=True)
    except OSError as error:
        raise DataError(f"{error.filename} cannot be removed: {error.strerror}", "give another --out") from error
    return True
