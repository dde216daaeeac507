"""The skills that questions about speech test, with their wordings."""

from lalm_agent.records import AudioType
from lalm_agent.training.synth.skill import EXTRACTION, HERE, REASONING, table

SPEECH_SKILLS = table(
    AudioType.SPEECH,
    (
        "gender",
        EXTRACTION,
        "Acoustic Source Inference",
        (
            "{Is the speaker a man or a woman|Is the voice male or female|Does the voice sound male or female}?",
            "What is the {speaker's gender|gender of the speaker|gender of the voice}?",
            f"{{What|Which}} gender {{has the speaker|is the voice}} {HERE}?",
            "Who is speaking, a man or a woman?",
            "{What|Which} {is|would be} the gender of the {person|speaker|voice} {|in the recording|who is speaking}?",
            "{Identify|Name} the gender of the {person|speaker|voice}.",
            "Is {it|this} a male or a female {speaker|voice}?",
        ),
        ("Is the person {male or female|female or male|a woman or a man}?",),
        ("The {voice|speaker} has {which|what} gender?",),
    ),
    (
        "language",
        EXTRACTION,
        "Event-Based Knowledge Retrieval",
        (
            "{What|Which} language is {spoken|being spoken|this|used|the speaker using}?",
            "In {which|what} language does the {person|speaker|voice} {speak|talk}?",
            f"{{What|Which}} language do you hear {HERE}?",
            "{Name|Identify} the language {|that is spoken} {|in the recording|in the audio}.",
        ),
        ("The {person|speaker|voice} is {using|speaking} {which|what} language?",),
        ("Name the language {that you hear|of the speaker}.",),
    ),
    (
        "word_count",
        REASONING,
        "Counting",
        (
            "How many words {are spoken|are said|do you hear|does the speaker say}?",
            f"Count the words: how many are {{there|said}} {HERE}?",
            "What is the number of words?",
        ),
        ("The speaker {says|speaks} how many words?",),
        ("Count the words {that you hear|of the speaker}.",),
    ),
    (
        "word_heard",
        EXTRACTION,
        "Phonological Sequence Decoding",
        (
            "{Which|What} word {is spoken|is said|do you hear|can be heard}?",
            "Which of these words {is spoken|is said|occurs|does the speaker say}?",
            "{Name|Identify} the word {|that is spoken}.",
            "What is the word that the speaker says?",
        ),
        ("The speaker says which {word|of these words}?",),
        ("Which of these words {do you hear|can be heard}?",),
    ),
    (
        "first_word",
        REASONING,
        "Phonological Sequence Decoding",
        (
            "{Which|What} word {appears|is spoken|comes|is said} first?",
            "{What|Which} is the first word {|spoken|of the speaker}?",
            "With which word does the speaker {start|begin}?",
        ),
        ("The speaker starts with {which|what} word?",),
        ("Which word do you hear first?",),
    ),
    (
        "last_word",
        REASONING,
        "Phonological Sequence Decoding",
        (
            "{Which|What} word {appears|is spoken|comes|is said} last?",
            "{What|Which} is the last word {|spoken|of the speaker}?",
            "With which word does the speaker {end|stop}?",
        ),
        ("The speaker ends with {which|what} word?",),
        ("Which word do you hear last?",),
    ),
    (
        "next_word",
        REASONING,
        "Phonological Sequence Decoding",
        (
            "{Which|What} word {follows|comes after|is said after} <x>?",
            "What {does the speaker say|is said} {right |}after <x>?",
            "After <x>, which word {comes|is next}?",
            "What is <x> followed by?",
        ),
        ("<x> is followed by {which|what} word?",),
        ("Which word do you hear {right |}after <x>?",),
    ),
    (
        "rate",
        EXTRACTION,
        "Phonemic Stress Pattern Analysis",
        (
            "How {fast|quickly} does the {person|speaker|voice} {speak|talk}?",
            "Is the speech slow, normal or fast?",
            "What is the {speed|pace|rate} of the speech?",
        ),
        ("The {person|speaker|voice} {speaks|talks} how {fast|quickly}?",),
        ("Does the {person|speaker} speak slow, normal or fast?",),
    ),
    (
        "topic",
        REASONING,
        "Key highlight Extraction",
        (
            "What {is the speaker|is the person|are the speakers|are the people} talking about?",
            "{What|Which topic} is {the speech|it|the talk} about?",
            "What is the {main |}topic {|of the speech|of the conversation}?",
        ),
        ("The {speaker|person} is talking about {what|which topic}?",),
        ("Which {main |}topic does the {speech|talk} have?",),
    ),
    (
        "speakers",
        REASONING,
        "Counting",
        (
            f"How many {{speakers|people|voices}} {{are there|are speaking|can be heard|talk}} {HERE}?",
            "{Is it|Do you hear} one speaker or two?",
            "What is the number of {speakers|voices}?",
        ),
        (f"Count the {{speakers|people|voices}} {HERE}.",),
        ("Are there one or two {speakers|voices}?",),
    ),
    (
        "first_speaker",
        REASONING,
        "Multi Speaker Role Mapping",
        (
            "{Who|Which voice} {speaks|talks|is heard} first?",
            "Which voice {starts|opens} the {conversation|dialogue}?",
            "Is the first voice a man or a woman?",
        ),
        ("Does a man or a woman {speak|talk} first?",),
        ("The {conversation|dialogue} {starts|opens} with which voice?",),
    ),
    (
        "behind",
        EXTRACTION,
        "Ambient Sound Interpretation",
        (
            "What is {behind|in the background of} the {speech|voice}?",
            "What {do you hear|is heard} {behind|besides} the {speaker|voice}?",
            "Is there music, noise or nothing behind the {speech|voice}?",
        ),
        ("Behind the {speech|voice|speaker}, what {is heard|do you hear}?",),
        ("Do you hear music, noise or nothing besides the {speech|voice}?",),
    ),
)
