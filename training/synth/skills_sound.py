"""The skills that questions about clips of sounds test, with their wordings."""

from lalm_agent.records import AudioType
from lalm_agent.training.synth.skill import EXTRACTION, HERE, REASONING, table

SOUND_SKILLS = table(
    AudioType.SOUND,
    (
        "sound_class",
        EXTRACTION,
        "Sound-Based Event Recognition",
        (
            f"{{What|Which}} sound {{is heard|can be heard|do you hear}} {HERE}?",
            f"{{What|Which sound}} is this {HERE}?",
            "Which of these sounds {is in|occurs in|can be heard in} the {clip|audio|recording}?",
            "Name the sound {|in the audio}.",
            "Identify the sound {|event} {|in the clip}.",
        ),
        (
            "The {clip|recording} contains which sound?",
            "Name the sound that you hear.",
            "Which sound event is this?",
        ),
    ),
    (
        "animal",
        EXTRACTION,
        "Eco-Acoustic Knowledge",
        (
            f"Which animal {{is heard|can be heard|makes this sound}} {HERE}?",
            "What animal {is it|do you hear|is this}?",
            "Identify the animal {|that makes the sound}.",
            "{Name|What is} the animal that {is heard|you hear}.",
        ),
        (
            "This sound is made by which animal?",
            "The animal in the {clip|recording} is what?",
        ),
    ),
    (
        "count",
        REASONING,
        "Temporal Event Reasoning",
        (
            "How {often|many times} {is the <x> heard|can the <x> be heard|do you hear the <x>}?",
            f"Count the <x>: how many times {HERE}?",
            "How many <x> sounds {are there|do you hear}?",
            "What is the number of <x> sounds?",
        ),
        (
            "The <x> {is heard|occurs} how {often|many times}?",
            "Count how {often|many times} you hear the <x>.",
        ),
    ),
    (
        "first_sound",
        REASONING,
        "Temporal Event Reasoning",
        (
            f"{{What|Which sound}} {{is heard|comes|happens|occurs}} first {HERE}?",
            "Which sound starts the {clip|recording}?",
            "What is the first sound {|event}?",
            "Which of the sounds do you hear first?",
        ),
        (
            "The {clip|recording} starts with {what|which sound}?",
            "Name the sound that {comes|is heard} first.",
        ),
    ),
    (
        "last_sound",
        REASONING,
        "Temporal Event Reasoning",
        (
            f"{{What|Which sound}} {{is heard|comes|happens|occurs}} last {HERE}?",
            "Which sound ends the {clip|recording}?",
            "What is the last sound {|event}?",
            "Which of the sounds do you hear last?",
        ),
        (
            "The {clip|recording} ends with {what|which sound}?",
            "Name the sound that {comes|is heard} last.",
        ),
    ),
    (
        "next_sound",
        REASONING,
        "Event-Based Sound Reasoning",
        (
            "{What|Which sound} {follows|comes after|is heard after} the <x>?",
            "What {happens|do you hear} {right |}after the <x>?",
            "Which sound {comes|is} next after the <x>?",
            "What is the <x> followed by?",
        ),
        (
            "After the <x>, {what|which sound} {follows|is heard|comes next}?",
            "The <x> is followed by {what|which sound}?",
        ),
    ),
    (
        "most_frequent",
        REASONING,
        "Event-Based Sound Reasoning",
        (
            "Which sound {is heard|occurs|happens} {the most|most often}?",
            "Which of the sounds do you hear most often?",
        ),
        ("What is the sound that {occurs|is heard} most often?",),
    ),
    (
        "different_sounds",
        REASONING,
        "Event-Based Sound Reasoning",
        (
            f"How many different sounds {{are there|are heard|can be heard}} {HERE}?",
            "How many kinds of sound do you hear?",
            "What is the number of different sounds?",
        ),
        (
            f"Count the different sounds {HERE}.",
            "The {clip|recording} contains how many kinds of sound?",
        ),
    ),
    (
        "background",
        REASONING,
        "Ambient Sound Interpretation",
        (
            f"{{What|Which sound}} {{is heard|is|can be heard}} in the background {HERE}?",
            "Which {sound|noise} {goes on|continues} {behind|under} the {other sounds|events}?",
            "What is the background sound?",
        ),
        (
            "The background {of the clip|of the recording} is which sound?",
            "Which sound do you hear behind the events?",
        ),
    ),
    (
        "foreground",
        REASONING,
        "Ambient Sound Interpretation",
        (
            "{What|Which sound} is heard over the <x>?",
            "What {happens|occurs} while the <x> {goes on|continues}?",
        ),
        (
            "Over the <x>, {what|which sound} can be heard?",
            "Which {sound|event} occurs over the <x>?",
        ),
    ),
    (
        "trend",
        REASONING,
        "Temporal Event Reasoning",
        (
            "How does the {loudness|volume|level} {change|develop}?",
            "{Is the sound getting|Does the sound become} louder or quieter?",
            f"What happens to the {{volume|loudness}} {HERE}?",
            "Is the {volume|loudness|level} getting louder, getting quieter or steady?",
        ),
        (
            "How does the sound develop: louder, quieter or steady?",
            "The {volume|loudness|level} of the sound is getting what?",
        ),
    ),
    (
        "distance",
        REASONING,
        "Acoustic Scene Reasoning",
        (
            "How {far away|close} is the sound?",
            "Is the sound near or far {|away}?",
            "How {near|far} is the source of the sound?",
        ),
        (
            "Is the source {far|far away} or near?",
            "The sound is how {far away|close}?",
        ),
    ),
    (
        "source",
        REASONING,
        "Acoustic Source Inference",
        (
            "What {kind|sort|type} of source {makes|produces} the sound?",
            f"{{What|Who}} {{causes|makes}} the sound {HERE}?",
            "What is the source of the sound?",
            "What is the sound made by?",
        ),
        (
            "The sound is made by what {kind|sort} of source?",
            "Of which type is the source?",
        ),
    ),
    (
        "scene",
        REASONING,
        "Acoustic Scene Reasoning",
        (
            "Where {was this recorded|might this be recorded|might this be}?",
            "Which place {fits|suits} the sound {|best}?",
            "Where {would|could} you hear this?",
            "{Based on the given audio, |Listen: }where does this {happen|take place}?",
            "What is the most likely place of the recording?",
        ),
        (
            "This sound fits which place {|best}?",
            "Where might you hear the sound?",
        ),
    ),
    (
        "sound_present",
        EXTRACTION,
        "Sound-Based Event Recognition",
        (
            f"{{Is a <x> heard|Can <x> be heard}} {HERE}?",
            "{Do you hear|Is there} {a|any} <x>?",
            "Does the {clip|recording} contain {a|any} <x>?",
        ),
        (
            "Is {a|any} <x> in the {clip|recording}?",
            f"Can {{a|any}} <x> be heard {HERE}?",
        ),
    ),
)
