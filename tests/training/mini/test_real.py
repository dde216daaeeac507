"""Real recordings: which are used, how they are split, what is known about them."""

import csv

import numpy as np
import pytest
import soundfile

from lalm_agent.records import AudioType
from lalm_agent.training.mini.data import ClipKind, read_index, real_clips, real_items
from lalm_agent.training.mini.targets import ExchangeSampler

RATE = 16_000
ESC = [("esc10/a.wav", "rain", "g1"), ("esc10/b.wav", "person sneeze", "g2")]
OTHER = [
    ("sonicpi/bd_one.wav", "bd_one", "bd"),
    ("sonicpi/sn_two.wav", "sn_two", "sn"),
    ("sonicpi/hat_three.wav", "hat_three", "hat"),
    ("sonicpi/loop_four.wav", "loop_four", "loop"),
    ("sonicpi/vinyl_five.wav", "vinyl_five", "vinyl"),
    ("sonicpi/ambi_six.wav", "ambi_six", "ambi"),
    ("fsdd/seven.wav", "7", "speaker"),
]


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    with (tmp_path / "index.csv").open("w", newline="") as file:
        out = csv.DictWriter(file, ["file", "modality", "label", "licence", "group", "sha256"])
        out.writeheader()
        for name, label, group in ESC + OTHER:
            out.writerow({"file": name, "label": label, "group": group})
            (tmp_path / name).parent.mkdir(exist_ok=True)
            soundfile.write(tmp_path / name, rng.normal(0, 0.1, 2 * RATE), RATE)
    return tmp_path


def test_only_the_parts_with_a_free_licence_are_read(folder):
    recordings = read_index(folder)
    assert {item.part for item in recordings} == {"esc10", "sonicpi"}
    assert [item.held_out for item in recordings] == [item.held_out for item in read_index(folder)]


def test_what_is_known_of_a_recording(folder):
    clips = list(real_clips(folder, 0))
    names = {name for _, name in clips}
    assert names <= {"rain", "sneezing", None}
    for clip, name in clips:
        assert clip.samples.dtype == np.float32
        assert np.abs(clip.samples).max() <= 1
        assert (name is not None) <= (clip.facts.modality is AudioType.SOUND)
        assert not clip.facts.sequence
    music = [clip for clip, _ in clips if clip.facts.modality is AudioType.MUSIC]
    assert len(music) > 100  # the beats made of single hits


def test_little_is_asked_about_a_recording_without_a_label(folder, tiny_shape):
    items = [item for (_, item), _ in zip(real_items(folder, tiny_shape, 0), range(60), strict=False)]
    unlabelled = [item for item in items if item.label is None]
    assert {item.kind for item in unlabelled} == {ClipKind.REAL}
    sampler, rng = ExchangeSampler(items), np.random.default_rng(0)
    replies = {
        made.reply for item in unlabelled for made in sampler.exchanges(item, 4, rng) if "Select" not in made.prompt
    }
    assert replies <= {"IDK"}
