"""All skills that questions test, by name."""

from lalm_agent.training.synth.skill import EXTRACTION, Skill, table
from lalm_agent.training.synth.skills_music import MUSIC_SKILLS
from lalm_agent.training.synth.skills_sound import SOUND_SKILLS
from lalm_agent.training.synth.skills_speech import SPEECH_SKILLS

ANY_SKILLS = table(
    None,
    (
        "type",
        EXTRACTION,
        "Acoustic Source Inference",
        (
            "What {kind|type|sort} of audio is this?",
            "Is this sound, music or speech?",
            "Which {kind|type} of audio {is it|do you hear}?",
            "What does the {clip|recording|audio} {mainly |}contain?",
            "Is the {clip|recording|audio} speech, music or sound?",
            "Say what the {clip|recording} contains.",
            "What is {heard|mainly heard} in {the clip|the recording}: sound, music or speech?",
        ),
        ("Do you hear music, speech or sound?",),
        (
            "This {clip|recording} is what kind of audio?",
            "Of which type is the audio?",
        ),
    ),
)

SKILLS: dict[str, Skill] = {skill.name: skill for skill in (*ANY_SKILLS, *SOUND_SKILLS, *MUSIC_SKILLS, *SPEECH_SKILLS)}
"""Name -> skill."""
