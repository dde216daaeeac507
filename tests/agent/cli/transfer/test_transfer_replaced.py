"""`lalm-agent transfer` after a first call that could not train: the corrected call goes on in the same folder."""

import json
from typing import Any

from lalm_agent.artefacts import SPEC
from lalm_agent.training.transfer.design import Arm, Job, StudyFolder

BRIEF = ("--jobs", "1", "--forgetting", "0")


def test_until_an_adapter_is_begun_its_recipe_may_change(study_place: Any, said: Any) -> None:
    folder, first = StudyFolder(study_place.out), Job("sound", Arm.KN, 0)
    assert study_place.transfer(*BRIEF, "--target-modules", ".*query") == 2
    assert "no module of this model" in said()[1]
    # Nothing was done, so nothing of that call counts, the number of questions neither.
    assert study_place.transfer(*BRIEF, "--learning-rate", "1e30", "--max-steps", "3", "--limit", "6") == 2
    told = said()[1]
    assert "replaced: what was there was another study" in told
    assert f"error: {first.name}: " in told
    asked = (folder.run(None) / "answers.jsonl").read_bytes()
    assert len(asked.splitlines()) == 6
    # What the model alone was asked is of this study, whatever is trained.
    assert study_place.transfer(*BRIEF, "--limit", "6", "--max-new-tokens", "4") == 2
    assert "differs: max_new_tokens: 3 in the run, 4 now" in said()[1]
    assert (folder.run(None) / "answers.jsonl").read_bytes() == asked
    assert study_place.transfer(*BRIEF, "--limit", "6", "--k", "2") == 0
    assert "replaced: " in said()[1]
    assert (folder.run(None) / "answers.jsonl").read_bytes() == asked
    spec = json.loads((folder.path / SPEC).read_text("utf-8"))
    assert (spec["identity"]["recipe"]["learning_rate"], spec["identity"]["labels"]["k"]) == (0.002, 2)
    done = study_place.files()
    assert study_place.transfer(*BRIEF, "--limit", "6", "--k", "2", "--learning-rate", "0.001") == 2
    assert "differs: recipe.learning_rate: 0.002 in the run, 0.001 now" in said()[1]
    assert study_place.files() == done


def test_a_checkpoint_is_not_given_up_for_another_recipe(study_place: Any, said: Any) -> None:
    folder = StudyFolder(study_place.out)
    assert study_place.transfer(*BRIEF, "--target-modules", ".*query") == 2
    (folder.adapter(Job("sound", Arm.KN, 0)) / "checkpoints" / "checkpoint-1").mkdir(parents=True)
    said()
    assert study_place.transfer(*BRIEF) == 2
    assert "differs: recipe.targets: " in said()[1]
    assert folder.adapters.exists()
