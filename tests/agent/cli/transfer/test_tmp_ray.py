from typing import Any
import pytest, sys, subprocess, os
from pathlib import Path
from lalm_agent.eval.runs.folder import read_answers


@pytest.mark.timeout(3000)
def test_it(study_place: Any) -> None:
    code = "import sys; from lalm_agent.cli.main import main; main(sys.argv[1:])"
    for i, more in enumerate((("--engine", "ray", "--workers", "2"), ("--jobs", "1"))):
        done = subprocess.run(
            [sys.executable, "-c", code, *study_place.arguments("--forgetting", "0", *more)],
            stderr=open(f"/tmp/tr_{i}.err", "w"),
            stdout=open(f"/tmp/tr_{i}.out", "w"),
        )
        assert done.returncode == 0
        os.rename(study_place.out, str(study_place.out) + str(i))
    a, b = (Path(str(study_place.out) + str(i)) / "runs" for i in (0, 1))
    names = sorted(p.name for p in a.iterdir())
    assert names == sorted(p.name for p in b.iterdir())
    same = [
        {k: v.reply for k, v in read_answers(a / n).items()} == {k: v.reply for k, v in read_answers(b / n).items()}
        for n in names
    ]
    print("SAME", names, same)
    assert all(same)
