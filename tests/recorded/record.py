"""Records what some 170 fixed commands of `lalm-agent` print, write and return, and compares a later tree with it.

    .venv/bin/python tests/recorded/record.py compare tests/recorded/expected               # all, 3 min of 2 cores
    .venv/bin/python tests/recorded/record.py compare tests/recorded/expected ask score     # the commands of two groups
    .venv/bin/python tests/recorded/record.py record tests/recorded/expected                # where a change is meant
    .venv/bin/python tests/recorded/record.py record /tmp/before --whole                    # without cutting long texts

No pytest test: it takes too long, and the floats of another kind of processor may differ in the sixth digit (record
there once from the commit before). It needs what `lalm-agent data synth` needs.

`commands.toml` has the commands. Those of one group run in order in one fresh folder, which holds `data/`, the example
clip and the clips and questions of the group `data`; two groups run at a time. A record is one text file for each
command: exit code, stdout, stderr, and the files that the command made or changed. Times, paths, versions and the like
are placeholders in it, floats have six digits; a longer text is cut in the middle and carries the hash of all of it.
"""

import argparse
import difflib
import hashlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PROGRAM = ROOT / ".venv" / "bin" / "lalm-agent"
FIRST_GROUP = "data"  # its folder is where the folders of all other groups start from
SHOWN = {".json", ".jsonl", ".csv", ".md", ".tex", ".txt"}
ABORT = "terminate called without an active exception\n"  # some `eval` in a hundred, after its work: a bug of now
LONGEST = 6_000  # characters of stdout or stderr
LONGEST_OF_FILES = 16_000  # characters of the files of one command together
LONGEST_OF_A_FILE = 2_400

NUMBER = r"\d[\d,]*(?:\.\d+)?(?:e-?\d+)?"
RULES = [
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:[\d.]+(Z|\+00:00)?", "{DATE}"),
    (r"tfevents\.[\w.-]+", "tfevents.{ID}"),
    (r"(\"?commit\"?:? \"?)[0-9a-f]{12,40}", r"\1{COMMIT}"),
    (r"(\"dirty\": )(?:true|false)", r"\1{DIRTY}"),
    (r",? with changes(?=[ ;])", ""),
    (r"(?<![\w.])\d+\.\d+\.\d+[\w.+]*", "{VERSION}"),
    # The seconds of a clip stand before its rate; all others are those of a clock.
    (rf"(\"(?:\w+_)?seconds(?:_\w+)?\": ){NUMBER}(?![\d.]|,\s*\"rate\")", r"\1{SECONDS}"),
    (rf"(estimated seconds: +){NUMBER}( \().*?;", r"\1{SECONDS}\2{SECONDS};"),
    (rf"(memory MB: +){NUMBER}", r"\1{MB}"),
    (rf"(\"memory_\w+\": ){NUMBER}", r"\1{MB}"),
    (rf"(?m)^( +\w+ +\S+ +){NUMBER} s  ", r"\1{SECONDS}  "),
    (rf"(?m) in {NUMBER} (?:s|min)(?:; {NUMBER} \w+ left)?$", " in {SECONDS}"),
    (r"\n +(step )?\d+/\d+(, [^\n]* left)?: [^\n]*", ""),  # what a slow machine shows every ten seconds
    (r"\b\d+ threads", "{THREADS} threads"),
]


def main() -> int:
    """Record, or compare with a record; 1 says that something differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["record", "compare"])
    parser.add_argument("folder", type=Path, help="of the records, one text file a command")
    parser.add_argument("groups", nargs="*", help="of commands.toml; all without any")
    parser.add_argument("--whole", action="store_true", help="cut nothing")
    asked = parser.parse_args()
    commands = tomllib.loads((HERE / "commands.toml").read_text(encoding="utf-8"))
    if not commands.keys() >= set(asked.groups):
        parser.error(f"the groups are {', '.join(commands)}")
    chosen = {name: group for name, group in commands.items() if not asked.groups or name in asked.groups}
    now = run_all(commands[FIRST_GROUP], chosen, asked.whole)
    if asked.action == "compare":
        return compare(asked.folder, now, [f"{group}-" for group in chosen])
    asked.folder.mkdir(parents=True, exist_ok=True)
    for old in () if asked.groups else asked.folder.glob("*.txt"):
        old.unlink()
    for name, text in now.items():
        (asked.folder / f"{name}.txt").write_text(text, encoding="utf-8")
    print(f"{len(now)} records, {sum(map(len, now.values())):,} characters: {asked.folder}")
    return 0


def compare(folder: Path, now: dict[str, str], prefixes: list[str]) -> int:
    """Print a unified diff for each command whose record differs."""
    paths = (path for prefix in prefixes for path in folder.glob(f"{prefix}*.txt"))
    before = {path.stem: path.read_text(encoding="utf-8") for path in paths}
    differ = [name for name in sorted(before | now) if before.get(name) != now.get(name)]
    for name in differ:
        old, new = (texts.get(name, "").splitlines() for texts in (before, now))
        print("\n".join(difflib.unified_diff(old, new, f"before/{name}", f"now/{name}", lineterm="")))
    print(f"{len(differ)} of {len(before | now)} records differ:", *differ)
    return bool(differ)


def run_all(first: dict[str, str], groups: dict[str, dict[str, str]], whole: bool) -> dict[str, str]:
    """The records of the groups by name; the first group is always run."""
    with tempfile.TemporaryDirectory(prefix="lalm-recorded-") as name, ThreadPoolExecutor(2) as pool:
        folder = Path(name).resolve()
        start = folder / FIRST_GROUP
        shutil.copytree(HERE / "data", start)
        for example in ("clip.wav", "own_asr.py", "own_model.py"):
            shutil.copy(ROOT / "examples" / example, start)
        records = run_group(start, FIRST_GROUP, first, whole)
        others = [group for group in groups if group != FIRST_GROUP]
        for group in others:
            shutil.copytree(start, folder / group)
        for more in pool.map(lambda group: run_group(folder / group, group, groups[group], whole), others):
            records |= more
    return {name: text for name, text in records.items() if name.startswith(tuple(f"{group}-" for group in groups))}


def run_group(folder: Path, group: str, commands: dict[str, str], whole: bool) -> dict[str, str]:
    """Run the commands of a group one after the other in its folder."""
    records = {}
    for name, command in commands.items():
        began = time.monotonic()
        before = hashes(folder)
        settings = dict(re.findall(r"(LALM_\w+)=(\S+) ", command))
        words = [word for word in shlex.split(command) if not word.startswith("LALM_")]
        done = subprocess.run(
            [PROGRAM, *words], cwd=folder, env=environment(folder.parent) | settings, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=900,
        )  # fmt: skip
        print(f"{time.monotonic() - began:5.1f} s  {group}-{name}", file=sys.stderr, flush=True)
        after = hashes(folder)
        made = [path for path in sorted(after) if before.get(path) != after[path]]
        hidden = {after[path]: f"{{SHA256 of {path}}}" for path in after if names_folder(folder / path, folder)}
        code, errors = done.returncode, done.stderr
        if code == -signal.SIGABRT and errors.endswith(ABORT):
            print(f"         {group}-{name}: aborted at its end, taken as exit code 0", file=sys.stderr, flush=True)
            code, errors = 0, errors.removesuffix(ABORT)
        parts = [f"$ lalm-agent {command}", f"exit code {code}"]
        parts += section("stdout", done.stdout, folder, hidden, None if whole else LONGEST)
        parts += section("stderr", errors, folder, hidden, None if whole else LONGEST)
        parts += ["--- files", *(normal(path, folder, {}) for path in made)]
        shown = [path for path in made if Path(path).suffix in SHOWN]
        limit = None if whole else min(LONGEST_OF_A_FILE, LONGEST_OF_FILES // max(len(shown), 1))
        for path in shown:
            text = (folder / path).read_text(encoding="utf-8")
            if path.endswith("answers.jsonl"):  # in the order of their ends, which the load of the machine decides
                text = "\n".join(sorted(text.splitlines()))
            parts += section(path, text, folder, hidden, limit)
        records[f"{group}-{name}"] = "\n".join(parts) + "\n"
    return records


def environment(folder: Path) -> dict[str, str]:
    """Nothing of the user's: no settings, keys or caches, no network; one thread, so that sums have one order."""
    return {
        "PATH": os.environ["PATH"], "HOME": str(folder), "XDG_CACHE_HOME": str(folder), "HF_HOME": str(folder),
        "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1",
        "COLUMNS": "100", "TERM": "dumb", "NO_COLOR": "1", "LC_ALL": "C.UTF-8", "TZ": "UTC",
    }  # fmt: skip


def hashes(folder: Path) -> dict[str, str]:
    """The SHA-256 of each file by its path from the folder."""
    files = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def names_folder(path: Path, folder: Path) -> bool:
    """Whether a file names the temporary folder, so that its hash means nothing."""
    return path.suffix in SHOWN and str(folder.parent).encode() in path.read_bytes()


def section(title: str, text: str, folder: Path, hidden: dict[str, str], limit: int | None) -> list[str]:
    """A title and a normal text; a JSON object that fills a line is written over several."""
    lines = []
    for line in text.splitlines():
        try:
            json_object = line.startswith('{"')
            lines.append(json.dumps(json.loads(line), indent=1, ensure_ascii=False) if json_object else line)
        except json.JSONDecodeError:
            lines.append(line)
    whole = normal("\n".join(lines), folder, hidden)
    if limit and len(whole) > limit:
        digest = hashlib.sha256(whole.encode()).hexdigest()[:16]
        cut = f"[… {len(whole.splitlines())} lines, {len(whole)} characters, sha256 {digest} …]"
        whole = f"{whole[: limit * 3 // 4]}\n{cut}\n{whole[-limit // 4 :]}"
    return [f"--- {title}", *([whole] if whole else [])]


def normal(text: str, folder: Path, hidden: dict[str, str]) -> str:
    """The text without what differs from call to call or from machine to machine."""
    for digest, name in hidden.items():
        text = re.sub(rf"{digest}|{digest[:12]}\w*", name, text)
    text = text.replace(str(folder), "{FOLDER}").replace(str(folder.parent), "{FOLDERS}").replace(str(ROOT), "{ROOT}")
    for pattern, replacement in RULES:
        text = re.sub(pattern, replacement, text)
    return re.sub(r"(?<![\w.])\d+\.\d{6,}(e-?\d+)?(?![\w.])", lambda found: f"{round(float(found[0]), 6):.6g}", text)


if __name__ == "__main__":
    sys.exit(main())
