"""English words: the closed vocabulary that is asked about, other words that are only spoken, nouns of questions."""

from lalm_agent.training.synth.pools import Pool, share

WORD_GROUPS: dict[str, tuple[str, ...]] = {
    "animals": ("tiger", "rabbit", "monkey", "eagle"),
    "food": ("butter", "coffee", "tomato", "pepper"),
    "places": ("kitchen", "school", "garden", "hotel"),
    "people": ("teacher", "doctor", "brother", "queen"),
    "things": ("hammer", "candle", "jacket", "bottle"),
    "nature": ("river", "mountain", "flower", "island"),
}
"""What a closed word belongs to; a clip whose words all belong to one thing can be asked for its topic."""

CLOSED_WORDS: tuple[str, ...] = tuple(sorted(word for group in WORD_GROUPS.values() for word in group))
"""The words that a clip of kind "words" is made of. Few: a small model must hear each of them often."""

CONFUSABLE: tuple[tuple[str, ...], ...] = (
    ("butter", "brother", "pepper", "doctor"),
    ("hammer", "flower", "river", "tiger"),
    ("teacher", "river", "eagle", "tiger"),
    ("rabbit", "jacket", "island"),
    ("garden", "mountain", "kitchen", "candle"),
    ("hotel", "school", "candle", "bottle"),
    ("coffee", "monkey", "tomato"),
    ("queen", "kitchen", "eagle"),
)
"""Words that sound somewhat alike: the wrong answers of hard questions."""

NEVER_MET_WORDS: tuple[str, ...] = ("jungle", "pencil", "shadow", "lemon", "planet", "giant")
"""Words that no training clip speaks and no training question offers."""

OTHER_WORDS: tuple[str, ...] = tuple(
    (
        "able about above accept across action actual again against agree ahead allow almost alone along already also "
        "always among amount anger angle another answer anyone appear area argue around arrive article artist attack "
        "attempt author average avoid balance barely battle beauty become before begin behind believe belong below "
        "beside better between beyond billion bitter blanket blind border borrow bottom bought brave breath brief "
        "bright broken budget build burden busy cabin call cancel capital careful carry cattle caught cause center "
        "certain chance change charge cheap choice citizen claim clean clever climb clothes cloud collect colour "
        "column comfort common compare complain concern confirm connect consider contain control copper correct "
        "cotton country courage cover create credit crime crowd culture curious current danger daughter debate decade "
        "decide deep degree deliver demand depend describe desert design detail develop differ dinner direct discover "
        "distant divide double doubt dream drive during eager early earth easy economy edge effort either election "
        "empty energy engine enjoy enough enter entire equal escape even evening event every exact example except "
        "excite expect explain extra faith familiar famous farther favour fellow fence festival fifteen fight figure "
        "final finish follow foreign forget formal forward fourth freedom frequent friend frozen further future "
        "gather gentle glory golden government grateful gravity ground growth guard guess habit happen harbour hardly "
        "harvest heavy height hidden history honest hope huge human hundred hurry idea ignore image improve inside "
        "instead invite iron issue journey judge justice keep kingdom knife knowledge labour language large later "
        "laugh leader learn leave legal length lesson level library limit listen little local lonely loose machine "
        "magic manner market master matter measure medicine member memory message metal middle million minute mirror "
        "mistake modern moment morning motion movement multiply muscle narrow nation nature nearly neither nephew "
        "network never nobody noise normal notice novel object observe obvious ocean offer often open operate opinion "
        "oppose order organ other outside oxygen package pain palace parent partner passage patient pattern peace "
        "perfect perhaps period permit person physical pioneer plastic plenty policy popular position possible powder "
        "power practice prepare present pretty prevent price prison private problem produce promise proper protect "
        "provide public purple purpose quality quarter question quickly quiet railway random rather ready reason "
        "recent record reduce refuse region relate remain remember remove repeat reply report require rescue respect "
        "result return reward rhythm rough royal rubber safety salary sample scatter science season second secret "
        "section select senior sentence separate serious service seven several shelter shoulder signal silence simple "
        "single sixteen slave smooth social society soldier solid solve source special spirit spread square stable "
        "standard station steady stomach storage strange stream strength stretch struggle student sudden suffer "
        "suggest supply support surface surprise surround survive sweet switch symbol system talent target temple "
        "tender terrible theory thirteen thousand thread through tired together tongue total toward tradition traffic "
        "travel treasure triangle trouble truly twelve twenty ugly under universe until useful usual valuable various "
        "vessel victory village violent visible visit voice volume voyage wander warning weapon weather weight "
        "welcome western whether whisper whole willing wisdom within without wonder wooden worry worth wound write "
        "wrong young zero"
    ).split()
)
"""Words of the word salad, shared out among the pools."""


def salad_words(pool: Pool) -> tuple[str, ...]:
    """The words that a pool may scatter."""
    return share(OTHER_WORDS, pool)


NOUNS: tuple[str, ...] = tuple(
    (
        "anger angle answer artist author balance beauty billion blanket border budget burden cabin cable canal "
        "carpet cattle ceiling cellar chain chapel chart cheese chimney cloth coach coin collar column copper "
        "corridor costume cottage cotton council couple cousin cradle crew crime crown culture curtain cushion danger "
        "daughter debate decade desert desk detail diary dinner district dozen drawer dress dust editor elbow empire "
        "engine envelope evening example factory farmer fence festival fiction flag flavour flour fortune fountain "
        "freedom frame fruit furniture gallery garage garment gate ghost glove government grain grandson guard guest "
        "habit handle harbour harvest helmet history hole honour hospital household income insect invention iron "
        "jewel journal journey judge juice kettle knife label lamp landlord lawyer leather liquid luggage machine "
        "magazine magnet market marriage medal meadow merchant metal mineral mirror mission museum napkin needle "
        "neighbour nephew nest newspaper ocean office onion opinion orchard oven owner package paint palace parcel "
        "passenger pension perfume pillow pipe plate poem poison pond portrait pottery powder prison prize profit "
        "pump puzzle railway receipt recipe ribbon roof rope route saddle salary sandal satellite scarf scholar "
        "sculpture secret senator servant shelf shield signature skirt soap soldier spoon stamp statue stomach stove "
        "strategy suitcase surgeon sword symbol tailor tax temple tent theory thread throne towel tower treaty "
        "trumpet tunnel umbrella uniform vase vehicle verse village violin visitor wallet wardrobe warehouse weapon "
        "wedding wheel witness wool workshop yacht"
    ).split()
)
"""Things to ask about that no clip can tell anything of."""

VERBS: tuple[str, ...] = tuple(
    (
        "arrive bend break burn collapse crack disappear dissolve explode fade fall float freeze glow grow leak melt "
        "move open rust shine shrink sink spin split stick swell tear tilt vanish"
    ).split()
)


def unheard_nouns(pool: Pool) -> tuple[str, ...]:
    """The nouns of a pool's unanswerable questions."""
    return share(NOUNS, pool)


def alike(word: str) -> tuple[str, ...]:
    """The closed words that sound somewhat like one of them."""
    return tuple(dict.fromkeys(other for group in CONFUSABLE if word in group for other in group if other != word))
