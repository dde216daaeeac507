"""The skills that questions about pieces of music test, with their wordings."""

from lalm_agent.records import AudioType
from lalm_agent.training.synth.skill import EXTRACTION, HERE, REASONING, table

MUSIC_SKILLS = table(
    AudioType.MUSIC,
    (
        "instrument",
        EXTRACTION,
        "Instrumentation",
        (
            f"{{What|Which}} instrument {{plays|is playing|is played|do you hear|can be heard}} {HERE}?",
            "Which instrument {plays the melody|leads|has the tune}?",
            f"What is the {{main|lead}} instrument {HERE}?",
            "Name the {main |}instrument.",
            "On which instrument is the {melody|tune} played?",
        ),
        ("The {melody|tune} is played on which instrument?",),
        (
            "Name the instrument that {leads|plays the tune|you hear}.",
            "Which is the {main|lead} instrument of the {clip|recording}?",
        ),
    ),
    (
        "accompaniment",
        EXTRACTION,
        "Instrumentation",
        (
            "Which instrument accompanies the <x>?",
            "What {plays|is heard} {along|together} with the <x>?",
            "Besides the <x>, which instrument {plays|is heard}?",
        ),
        ("The <x> plays together with which instrument?",),
        ("Along with the <x>, what is heard?",),
    ),
    (
        "instrument_family",
        REASONING,
        "Instrumentation",
        (
            f"{{Which|What}} family of instruments {{plays|is heard}} {HERE}?",
            "What {kind|family} of instrument has the {tune|lead}?",
            "Which family does the {main|lead} instrument belong to?",
        ),
        ("The {main|lead} instrument is of which family?",),
        ("Of which {kind|family} is the instrument that has the tune?",),
    ),
    (
        "instrument_count",
        REASONING,
        "Musical Texture Interpretation",
        (
            f"How many {{different |}}instruments {{play|are there|can be heard}} {HERE}, not counting drums?",
            "Not counting drums, how many instruments do you hear?",
            "What is the number of instruments, not counting drums?",
        ),
        ("Count the instruments, not the drums.",),
        ("The {music|piece} has how many instruments, not counting drums?",),
    ),
    (
        "tempo",
        EXTRACTION,
        "Rhythm and Tempo Understanding",
        (
            "{What is|How is} the tempo {|of the music|of the piece|of this song}?",
            "How fast is the {music|piece|song|tempo}?",
            "Is the {music|piece} slow, medium or fast?",
            "At what {speed|pace} is the music played?",
        ),
        ("The {music|piece|song} has {what|which} tempo?",),
        ("Is the {tempo|speed|pace} fast, medium or slow?",),
    ),
    (
        "tempo_bpm",
        REASONING,
        "Rhythm and Tempo Understanding",
        (
            "How many beats per minute does the {music|piece|song} have?",
            "What is the tempo in beats per minute?",
            "Count the beats: how many per minute?",
        ),
        ("The {music|piece|song} has how many beats per minute?",),
        ("In beats per minute, {what is the tempo|how fast is the music}?",),
    ),
    (
        "direction",
        REASONING,
        "Melodic Structure Interpretation",
        (
            "{Which way|In which direction} does the {melody|tune} {go|move}?",
            "How does the {melody|tune|pitch} {move|develop}?",
            "Is the {melody|tune} rising or falling?",
            "What is the {shape|direction} of the {melody|tune}?",
            "Does the {melody|tune} go up, down or up and down?",
        ),
        ("In which direction does the pitch {go|move|develop}?",),
        ("Is the {pitch|shape} of the {melody|tune} rising, falling or up and down?",),
    ),
    (
        "mode",
        REASONING,
        "Harmony and Chord Progressions",
        (
            "Is the {piece|music|harmony} {in|in a} major or minor {|key}?",
            "{Which|What} mode are the chords {in|of}?",
            "Are the chords major or minor?",
        ),
        ("Is the {key|mode} minor or major?",),
        ("The {harmony|music|piece} is in {which|what} {mode|key}?",),
    ),
    (
        "metre",
        REASONING,
        "Rhythm and Tempo Understanding",
        (
            "How many beats {are in|has} {a|each} bar?",
            "{What|Which} metre {does|is} the drum {pattern|beat} {have|in}?",
            "Are there three or four beats in {a|each} bar?",
        ),
        ("{A|Each} bar has how many beats?",),
        ("Count the beats of {a|each} bar.",),
    ),
    (
        "drums",
        EXTRACTION,
        "Musical Texture Interpretation",
        (
            f"Are there {{any |}}drums {HERE}?",
            "{Do you hear|Can you hear} {a drum|drums}?",
            "Does the {music|piece} have {drums|a drum beat}?",
        ),
        ("Can {a drum|drums} be heard?",),
        ("Is there {a drum|a drum beat} in the {music|piece}?",),
    ),
    (
        "texture",
        REASONING,
        "Musical Texture Interpretation",
        (
            "What do you mainly hear in the music?",
            "Which {part|layer} {makes up|dominates} the {music|piece}?",
            "Does the {music|piece} consist of a melody, chords, a bass line or drums?",
        ),
        ("Which {part|layer} do you mainly hear?",),
        ("What {makes up|dominates} the {music|piece}?",),
    ),
    (
        "instrument_present",
        EXTRACTION,
        "Instrumentation",
        (
            f"Is {{there |}}{{a|the}} <x> {{playing|part of the music|heard}} {HERE}?",
            "Do you hear {a|the} <x>?",
            "Does {a|the} <x> play {|in the music}?",
        ),
        ("Can {a|the} <x> be heard in the {music|piece}?",),
        ("Does the {music|piece} have {a|the} <x>?",),
    ),
)
