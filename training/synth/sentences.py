"""More English sentences: patterns with alternatives about ten things, each pool with its own."""

from lalm_agent.training.synth.dsp import Dial
from lalm_agent.training.synth.languages import sentence
from lalm_agent.training.synth.pools import Pool
from lalm_agent.training.synth.wording import draw

SUBJECTS: dict[str, tuple[str, ...]] = {
    "the weather": (
        "it will {rain|snow|be sunny|be windy|be cloudy} {tomorrow|this afternoon|all week|on friday} in the "
        "{north|south|city|hills}",
        "the {storm|fog|wind|rain} {will clear|is getting worse|has stopped} {before noon|by evening|near the coast}",
        "{temperatures|the clouds} will {rise|fall} {slowly|quickly} {this week|during the night|after sunset}",
        "take {an umbrella|a warm coat} because {heavy rain|cold wind|snow} is coming {tonight|from the west}",
    ),
    "food": (
        "{add|stir in|mix} {two eggs|some flour|a little salt|the onions} and {bake|cook|fry} it for "
        "{ten|twenty|thirty} minutes",
        "the {soup|bread|cake|rice} {tastes|smells} {too salty|delicious|of garlic|very sweet}",
        "{we ordered|i would like|she cooked} {fried fish|a cheese pizza|roast potatoes|a bowl of soup} for "
        "{lunch|dinner}",
        "this {restaurant|cafe|bakery} serves {fresh|hot|cold} {sandwiches|pancakes|noodles} {every "
        "morning|until midnight}",
    ),
    "travel": (
        "the {train|bus|plane|ferry} to {london|rome|the airport|the coast} {leaves|departs} {at noon|in ten "
        "minutes|from gate four}",
        "{we booked|they found} a {cheap|quiet|small} {hotel|room|flight} {near the beach|for two nights|in "
        "the old town}",
        "please {show|keep} your {passport|ticket} {at the border|for the inspector|until the end of the trip}",
        "{turn left|turn right|go straight on} at the {bridge|station|traffic light} and {park|wait} by the "
        "{hotel|harbour}",
    ),
    "sport": (
        "the {home team|young striker|captain|goalkeeper} {scored|saved|missed} {a penalty|the final goal} "
        "in the {first|second} half",
        "she {won|lost} the {tennis match|race|final} by {one point|two seconds|three sets}",
        "the {coach|referee|team} {trains|runs|meets} {every tuesday|before the match|in the stadium}",
        "he {threw|kicked|caught} the ball {over the line|into the net} and the fans {cheered|shouted}",
    ),
    "work": (
        "the {manager|boss|office} {moved|cancelled|called} the {meeting|interview} {until monday|this "
        "morning|after lunch}",
        "please {send|finish|print} the {report|contract|invoice} {before five|by thursday|for our client}",
        "{i have|she got} {a new job|a pay rise|too many emails} {in the sales team|at the bank|since last month}",
        "our {company|department} will {hire|train} {ten|twenty} new {engineers|assistants} {next spring|this year}",
    ),
    "health": (
        "the {doctor|nurse} {says|thinks} you {need rest|have a fever|must stay in bed} {for a week|until sunday}",
        "take {one tablet|two pills|this medicine} {after meals|twice a day|before you sleep}",
        "my {back|head|knee|throat} {hurts|has been aching} {since yesterday|when i walk|after the operation}",
        "the {hospital|clinic} {opens|sees patients} {at eight|on weekdays} and {the nurses|the surgeons} are kind",
    ),
    "education": (
        "the {students|pupils|children} must {hand in|finish|read} their {homework|essays} {by friday|before class}",
        "our {maths|history|science} teacher {gave|set} us {a hard exam|a short quiz} {last week|this morning}",
        "the {lesson|lecture|exam} {begins|ends} {at nine|after the break} in {room seven|the main hall}",
        "she {studied|learned} {grammar|chemistry|algebra} {all night|at the university} and {passed|failed} the test",
    ),
    "concerts": (
        "the {band|orchestra|singer} {played|performed} {a slow song|an old tune|three encores} {last "
        "night|at the festival}",
        "he {practises|plays} the {piano|violin|drums} {for an hour every day|in a jazz band}",
        "their new {album|song|concert} {was recorded|sounded better} {in paris|with a choir|on the radio}",
        "the {guitarist|drummer|conductor} {tuned|broke|changed} {the strings|the rhythm} before the {concert|show}",
    ),
    "animals": (
        "the {zoo|farm} has {two lions|three elephants|many goats} and {a young bear|some penguins}",
        "{wolves|foxes|owls} {hunt|sleep} {at night|in the woods} and {feed|protect} their young",
        "my {puppy|kitten|horse} {eats|hides} {under the bed|in the barn} when {it hears thunder|strangers come}",
        "the {vet|farmer} {fed|washed|counted} the {sheep|cows|chickens} {before sunrise|near the pond}",
    ),
    "money": (
        "the {bank|shop|store} {raised|lowered} its {prices|fees|rates} by {five|ten|fifty} percent",
        "{i paid|we spent|she saved} {forty dollars|a hundred pounds} {on shoes|for the rent|last month}",
        "the {tax|loan|bill} must be paid {in cash|by card|before december}",
        "you can {pay|save} {five|twenty} {dollars|euros} with this {coupon|card} {today|until saturday}",
    ),
}
"""Subject -> patterns; the last of each is test's, the one before it dev's."""


def patterns(subject: str, pool: Pool) -> tuple[str, ...]:
    """The patterns of a subject that belong to a pool."""
    held = {Pool.DEV: SUBJECTS[subject][-2:-1], Pool.TEST: SUBJECTS[subject][-1:]}
    return held.get(pool, SUBJECTS[subject][:-2])


def english_sentence(dial: Dial) -> str:
    """A sentence of the dial's pool; lower case, no punctuation."""
    if dial.chance(0.4):
        return sentence(dial, "English")
    return draw(dial.pick(patterns(dial.pick(tuple(SUBJECTS)), dial.pool)), dial.rng)
