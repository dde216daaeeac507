"""The list of a run's clips: a benchmark made with the pretraining's own seeds is found, another one is not."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from lalm_agent.audio import load
from lalm_agent.models.pretrained_clips import FILE_NAME, read_pretrained_clips
from lalm_agent.training.mini.data import ClipKind, clip_hash, make_features, synthetic, write_hashes
from lalm_agent.training.mini.pretrained import main, real_hashes, write_pretrained
from lalm_agent.training.mini.recipe import RecipePlan, RunFolders
from lalm_agent.training.synth.benchmark import pcm16, write_benchmark
from lalm_agent.training.synth.records import Split

CLIPS = 36
RATE = 16_000


def silent(_: str) -> None:
    """Nobody listens."""


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("listed")
    plan = RecipePlan(clips=CLIPS, shard_clips=CLIPS // 3, workers=1)
    assert 0 < write_pretrained(plan, folder / "parts", None, folder / FILE_NAME, silent) <= CLIPS
    return folder / FILE_NAME


@pytest.mark.parametrize(("split", "seed", "met"), [("train", 0, True), ("dev", 0, False)])
def test_a_benchmark_of_the_pretrainings_seeds_is_found(
    split: str, seed: int, met: bool, listed: Path, tmp_path: Path
) -> None:
    # The benchmark chooses modality and level, so only the clips that drew the same are the same.
    write_benchmark(tmp_path, Split(split), CLIPS, seed)
    clips = read_pretrained_clips(listed)
    matches = [path.name for path in (tmp_path / "audio").glob("*.wav") if load(path).ref.sha256 in clips]
    assert bool(matches) is met


def test_each_kind_of_clip_is_hashed_as_it_was_heard(listed: Path, tmp_path: Path) -> None:
    """Faint and drowned ones too: what a WAV of the noisy samples decodes to."""
    clips, kinds = read_pretrained_clips(listed), set()
    for seed in range(CLIPS):
        clip, kind = synthetic(seed)
        kinds.add(kind)
        soundfile.write(tmp_path / "one.wav", pcm16(clip.samples), RATE, subtype="PCM_16")
        assert (load(tmp_path / "one.wav").ref.sha256 in clips) is bool(pcm16(clip.samples).any())
    assert {ClipKind.CLEAR, ClipKind.FAINT} <= kinds


def test_digital_silence_is_no_clip_of_the_pretraining() -> None:
    """Two silent clips of one length are the same; one of them in a blind control is no leak."""
    assert clip_hash(np.zeros(800, dtype=np.float32)) is None
    assert clip_hash(np.full(800, 1e-4, dtype=np.float32)) is not None


def test_making_the_features_leaves_the_hashes_for_the_export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = RecipePlan(clips=4, shard_clips=2, seed=3, workers=1)
    cache, said = tmp_path / "cache", list[str]()
    make_features(RunFolders(tmp_path, cache), plan, silent)
    monkeypatch.setattr("lalm_agent.training.mini.data.synthetic", None)
    assert write_pretrained(plan, cache, None, tmp_path / FILE_NAME, said.append) == 4
    monkeypatch.undo()
    again = tmp_path / "again"
    write_hashes(again, [clip_hash(synthetic(seed)[0].samples) for seed in range(30_000_000, 30_000_004)])
    assert (tmp_path / FILE_NAME).read_bytes() == again.read_bytes()
    assert len(said) == 1


def test_what_is_done_is_not_done_again(listed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--clips", str(CLIPS), "--shard-clips", str(CLIPS // 3), "--parts", str(listed.parent / "parts")]
    made = sorted((path, path.stat().st_mtime_ns) for path in (listed.parent / "parts").iterdir())
    assert len(made) == 3
    assert main(["--out", str(tmp_path / FILE_NAME), *arguments]) == 0
    assert (tmp_path / FILE_NAME).read_bytes() == listed.read_bytes()
    assert sorted((path, path.stat().st_mtime_ns) for path in (listed.parent / "parts").iterdir()) == made
    assert f"{len(read_pretrained_clips(listed))} in" in capsys.readouterr().out


def test_recordings_are_listed_themselves_and_by_their_cuts(tmp_path: Path) -> None:
    rows = [("esc10/a.wav", "rain", "g1"), ("esc10/b.wav", "rain", "g2"), ("sonicpi/ambi_c.wav", "ambi_c", "ambi")]
    lines = ["file,modality,label,licence,group,sha256"]
    lines += [f"{name},sound,{label},x,{group}," for name, label, group in rows]
    (tmp_path / "index.csv").write_text("\n".join(lines) + "\n")
    rng = np.random.default_rng(0)
    for name, _, _ in rows:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        soundfile.write(tmp_path / name, rng.normal(0, 0.1, (2 * RATE, 2)), RATE)
    write_hashes(tmp_path / "real", real_hashes(tmp_path, 0))
    clips = read_pretrained_clips(tmp_path / "real")
    whole = [load(tmp_path / name).ref.sha256 in clips for name, _, _ in rows]
    assert whole == [True, True, False]
    assert len(clips) == 2 + 2 * 3


def test_a_folder_without_an_index_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--out", str(tmp_path / "x"), "--clips", "1", "--real", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("error: real recordings")
