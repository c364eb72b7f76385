"""The manipulated object in the words of an instruction: a small grammar of imperative manipulation sentences.

    sentence  = verb particle? (object | "and" verb …) phrase*
    object    = determiner* modifier* noun+ ("of" object)?

Everything that is not of a closed class (determiner, preposition, adverb, …) counts as part of a noun
phrase, so unknown nouns need no dictionary. The object is what the hand takes hold of: the tool where one is
named ("with a sponge", "use a shovel", "by pressing the button"), else the direct object of the first verb
that has one. Water and the like give way to the vessel they come from; "object", "something" name nothing.

A statistical tagger was tried instead: the averaged perceptron that ships in a wheel takes the first word of
38 of RH20T's 149 imperatives for a noun, because its treebank has few imperatives. Against hand labels this
grammar is right on 146 of RH20T's 149 sentences, CALVIN's 34 and 19 of 20 Bridge file names
(`tests/pipelines/objects/test_instruction_object.py`).
"""

import re
from collections.abc import Sequence

_words = str.split

VERBS = frozenset(_words(
    "adjust align apply approach arrange assemble attach bring build carry chop clean close cover cut dial dip "
    "drag draw drop dry dump empty erase fill flip fold get give grab grasp hammer hand hang hit hold insert "
    "install knock lay lift light load lower mix move open pack paint peel pick place plug poke pour press pull "
    "push put raise reach release remove rotate scoop screw scrub separate shake sharpen shoot shut slice slide "
    "spin spread squeeze stack stir store straighten swat sweep swing take tap throw tie tilt touch transfer "
    "turn twist unfold unlock unplug unscrew unstack untie unzip use wash water wave wipe wrap write zip"
))  # fmt: skip
TOOL_VERBS = frozenset(_words(
    "brush chop clean cover cut dry erase hammer hit mix paint peel poke scoop scrub slice stir swat sweep wash wipe"
))  # fmt: skip
"""Verbs whose "with" names what is held; after others it names company ("the bulb holder with a bulb")."""
FILLERS = frozenset(_words("please now then first next carefully gently slowly go try to again"))
PARTICLES = frozenset(_words("up down out in on off over away back apart together open closed"))
DETERMINERS = frozenset(_words(
    "the a an this that these those its his her their your one two three four five six some any all each every both "
    "another other several many"
))  # fmt: skip
STATES = frozenset(_words("grasped held stacked moving closest nearest corresponding designated assembled"))
"""Modifiers that say how things stand, not what they look like; a detector cannot use them."""
STOPS = frozenset(_words(
    "into onto in on at to from with without using by for as off under over above below beside behind near between "
    "through toward towards along around against inside outside across and or then while until after before that "
    "which who so if when is are up down out away back apart together left right upright upside vertical "
    "horizontally vertically sideways clockwise counterclockwise randomly once twice pnp"
))  # fmt: skip
PARTS = frozenset(
    _words("side sides top bottom edge corner middle center centre front end kind set pile row")
)
"""`PART of X` is X."""
PRONOUNS = frozenset(_words("it them itself themselves"))
AGENTS = frozenset(_words("gripper grippers hand hands arm arms claw fingers robot"))
SUBSTANCES = frozenset(_words("water liquid juice milk coffee tea"))
UNSPECIFIC = frozenset(_words(
    "object objects thing things something everything anything item items stuff obstacle obstacles"
))  # fmt: skip


def object_phrase(instruction: str) -> str:
    """The manipulated object in `instruction`, lower case, without determiners; "" where none is named.

    Takes sentences ("Pick up the small block on the left" gives "small block") and file names in which a
    sentence is written with underscores, maybe after other words ("toykitchen1_put_banana_on_plate").
    """
    for tokens in _clauses(instruction):
        phrase = _clause_object(tokens)
        if phrase is not None:
            return "" if phrase[-1] in UNSPECIFIC or phrase[0] in UNSPECIFIC else " ".join(phrase)
    return ""


def _clauses(instruction: str) -> list[list[str]]:
    """Tokens of every clause from its first verb on; clauses without a verb are left out."""
    text = re.sub(r"\(.*?\)", " ", instruction.lower())
    is_name = "_" in text
    clauses = []
    for clause in re.split(r"[.,;:!?]", text.replace("_", " ")):
        tokens = re.findall(r"\S*\d\S*|[a-z][a-z'-]*", clause)
        is_verb = VERBS.__contains__ if is_name else _verb  # "folding_table" is a place, not an action.
        begin = next((i for i, token in enumerate(tokens) if is_verb(token)), None)
        if begin is None and not is_name and tokens and tokens[0] not in DETERMINERS | FILLERS:
            begin = 0  # A sentence whose verb is not listed: imperatives begin with it.
        if begin is not None:
            clauses.append(tokens[begin:])
    return clauses


def _clause_object(tokens: Sequence[str]) -> list[str] | None:
    """Words of the object of one clause, which begins with its verb; None where it names none."""
    verb = _verb(tokens[0]) or tokens[0]
    rest = list(tokens[1:])
    direct = _noun_phrase(rest)
    if verb == "use":
        action = rest.index("to") + 1 if "to" in rest else None
        if direct is None or direct[-1] not in AGENTS:
            return direct
        return _clause_object(rest[action:]) if action is not None and rest[action:] else None
    held = _phrase_after(rest, "using") or _held_by_gerund(rest)
    if held is None and (verb in TOOL_VERBS or direct is None):
        held = _phrase_after(rest, "with")
    if held is not None and held[-1] not in AGENTS | UNSPECIFIC:
        return held
    if direct is not None and direct[-1] in SUBSTANCES:
        return _phrase_after(rest, "from") or direct
    if direct is not None:
        return direct
    later = next((i for i, token in enumerate(rest) if _verb(token) and rest[i - 1] in ("and", "to")), None)
    return _clause_object(rest[later:]) if later is not None else None


def _held_by_gerund(tokens: Sequence[str]) -> list[str] | None:
    """The noun phrase in "by pressing X"."""
    for i, token in enumerate(tokens[:-1]):
        if token == "by" and tokens[i + 1].endswith("ing"):
            return _noun_phrase(tokens[i + 2 :])
    return None


def _phrase_after(tokens: Sequence[str], word: str) -> list[str] | None:
    return _noun_phrase(tokens[tokens.index(word) + 1 :]) if word in tokens else None


def _noun_phrase(tokens: Sequence[str]) -> list[str] | None:
    """The noun phrase that `tokens` begin with, after particles and determiners; None if there is none."""
    words: list[str] = []
    leading = True
    for i, token in enumerate(tokens):
        if leading and token in PARTICLES | DETERMINERS | STATES | FILLERS - {"to"}:
            continue
        if token == "of" and words:
            whole = _noun_phrase(tokens[i + 1 :])
            if whole is None or whole[-1] in UNSPECIFIC:
                return words
            return whole if words[-1] in PARTS else [*words, "of", *whole]
        if token in STOPS | PRONOUNS | DETERMINERS or any(c.isdigit() for c in token):
            break
        leading = False
        words.append(token)
    return words or None


def _verb(token: str) -> str | None:
    """The verb that `token` is a form of (picks, picking, placed), if it is listed."""
    stems = [token]
    for ending in ("s", "es", "ing", "ed", "d"):
        if token.endswith(ending):
            stem = token.removesuffix(ending)
            stems += [stem, stem + "e", stem[:-1]]
    return next((stem for stem in stems if stem in VERBS), None)
