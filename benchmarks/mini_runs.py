"""The runs that `benchmarks/mini.py` reads its figures from: what is asked, in which folder, by which command."""

import ast
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
MODALITIES = ("sound", "music", "speech")
EDGE_DRAWS = 5
EDGE_LIMIT = 375
"""Questions of each modality that are sampled; a fifth has no answer, which leaves 300."""


@dataclass(frozen=True, slots=True)
class Options:
    """What is measured. work: holds everything that is written, and every command is run in it.

    data: holds `clips/` and `sakura/`. n: questions of the split. quick: a few of everything.
    """

    model: str
    split: str
    seed: int
    n: int
    data: Path
    work: Path
    quick: bool

    @property
    def benchmark(self) -> str:
        """The split's folder."""
        return f"{self.split}-{self.seed}-{self.n}"


@dataclass(frozen=True, slots=True)
class Run:
    """One run of `lalm-agent eval`: its folder in the working folder, and the arguments."""

    folder: str
    arguments: tuple[str, ...]

    @property
    def command(self) -> str:
        """As a reader types it in the working folder."""
        return "lalm-agent " + " ".join(self.arguments)

    @property
    def short(self) -> str:
        """What tells the command from the others."""
        return f"lalm-agent eval … --out {self.folder}"


def runs_of(options: Options) -> dict[str, Run]:
    """Every run by the name that the rows know it by, the longest first."""
    split = ("synth", "--data", options.benchmark)
    sakura = ("sakura", "--data", "data/sakura")
    clips = ("clips.jsonl", "--audio-root", "data/clips")
    speech = ("speech.jsonl", "--audio-root", "data/clips")
    agent = ("--method", "agent", "--tools", "assist")
    few = {"sakura": 24, "clips": 9, "speech": 6} if options.quick else {}
    found: dict[str, tuple[str, ...]] = {}
    for name, data in {"sakura": sakura, "clips": clips}.items():
        limited = (*data, "--limit", str(few[name])) if few else data
        found[f"{name}-agent"] = (*limited, *agent)
        for method in ("baseline", "idk"):
            found[f"{name}-{method}"] = (*limited, "--method", method)
    for kind in MODALITIES:
        limit = 6 if options.quick else EDGE_LIMIT
        sampled = ("--draws", str(EDGE_DRAWS), "--temperature", "1.0", "--modality", kind, "--limit", str(limit))
        found[f"edge-{kind}"] = (*split, "--method", "baseline", *sampled)
    for method in ("baseline", "idk"):
        found[method] = (*split, "--method", method)
    found["speech"] = (*speech, *(("--limit", str(few["speech"])) if few else ()), *agent)
    own = {"baseline", "idk", *(f"edge-{kind}" for kind in MODALITIES)}
    folders = {name: f"runs/{options.benchmark}-{name}" if name in own else f"runs/{name}" for name in found}
    return {name: Run(folders[name], _eval(options, args, folders[name])) for name, args in found.items()}


def synth_command(options: Options) -> tuple[str, ...]:
    """The arguments that make the split."""
    return (
        *("data", "synth", "--split", options.split, "--n", str(options.n)),
        *("--seed", str(options.seed), "--out", options.benchmark),
    )


def prepare(options: Options) -> None:
    """Fill the working folder with all that the runs read. What is there stays."""
    options.work.mkdir(parents=True, exist_ok=True)
    _link(options.work / "data", options.data)
    if Path(options.model).exists():
        _link(options.work / "model", Path(options.model))
    rows = [json.loads(line) for line in (Path(__file__).parent / "real_questions.jsonl").read_text().splitlines()]
    modality = {clip["file"]: clip["modality"] for clip in json.loads((options.data / "clips/clips.json").read_text())}
    clips = [{"id": row["audio"], **row, "modality": modality[row["audio"]]} for row in rows]
    files, questions = _listed("REAL_ENGLISH"), _listed("UNKNOWABLE")
    speech = [
        {"id": f"{file}/{at}", "audio": file, "question": question, "answerable": False, "answer": None}
        for file in files
        for at, question in enumerate(questions)
    ]
    for name, lines in {"clips": clips, "speech": speech}.items():
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (options.work / f"{name}.jsonl").write_text(text, encoding="utf-8")
    if not (options.work / options.benchmark / "questions.json").is_file():
        _lalm_agent(synth_command(options), options.work)


def run_all(options: Options) -> dict[str, float]:
    """Every run that is not complete, two at a time, a core each; the seconds of each, by name."""

    def one(item: tuple[str, Run]) -> tuple[str, float]:
        start = time.monotonic()
        _lalm_agent(item[1].arguments, options.work)
        return item[0], time.monotonic() - start

    with ThreadPoolExecutor(2) as pool:
        return dict(pool.map(one, runs_of(options).items()))


def _lalm_agent(arguments: tuple[str, ...], folder: Path) -> None:
    """Run the command in a folder, on one core. A failure ends the script with the command's own words."""
    command = [str(Path(sys.executable).with_name("lalm-agent")), *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    print("lalm-agent", *arguments, f"-> exit {done.returncode}", file=sys.stderr, flush=True)
    if done.returncode:
        sys.exit(done.stderr[-2000:])


def shown_model(options: Options) -> str:
    """The model's reference inside the working folder: a link to a folder, or the reference as it is."""
    return "./model" if Path(options.model).exists() else options.model


def _eval(options: Options, arguments: tuple[str, ...], folder: str) -> tuple[str, ...]:
    return ("eval", *arguments, "--model", shown_model(options), "--out", folder)


def _link(path: Path, target: Path) -> None:
    """Point a link to a folder; one that points elsewhere is of another call, whose runs would be mixed with these."""
    if path.is_symlink() and path.resolve() != target.resolve():
        sys.exit(f"{path} points to {path.resolve()}, not to {target.resolve()}: give another --work")
    if not path.is_symlink():
        path.symlink_to(target.resolve(), target_is_directory=True)


def _listed(name: str) -> tuple[str, ...]:
    """A tuple of texts that the tests of `mini` list: its open questions about real speech, and the recordings."""
    tree = ast.parse((ROOT / "tests" / "agent" / "test_mini.py").read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(to, ast.Name) and to.id == name for to in node.targets):
            return tuple(ast.literal_eval(node.value))
    sys.exit(f"tests/agent/test_mini.py lists no {name}")
