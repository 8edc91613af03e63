"""Attributes that descriptions in words name, in the vocabularies of the benchmarks."""

import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from msdn_lit.data.words.attributes import attribute_parts
from msdn_lit.errors import ConfigError
from msdn_lit.inference.phrases import FULL, read_phrases

_EYES = "blue brown purple rufous grey yellow olive green pink orange black white red buff"
_COLORS = f"{_EYES} iridescent"
_PATTERNS = "solid spotted striped multi-colored"
# The vocabulary of CUB: values by part.
_CUB = {
    "wing_color": _COLORS,
    "upperparts_color": _COLORS,
    "underparts_color": _COLORS,
    "back_color": _COLORS,
    "upper_tail_color": _COLORS,
    "breast_color": _COLORS,
    "throat_color": _COLORS,
    "forehead_color": _COLORS,
    "under_tail_color": _COLORS,
    "nape_color": _COLORS,
    "belly_color": _COLORS,
    "primary_color": _COLORS,
    "leg_color": _COLORS,
    "bill_color": _COLORS,
    "crown_color": _COLORS,
    "eye_color": _EYES,
    "breast_pattern": _PATTERNS,
    "back_pattern": _PATTERNS,
    "tail_pattern": _PATTERNS,
    "belly_pattern": _PATTERNS,
    "wing_pattern": _PATTERNS,
    "head_pattern": "spotted malar crested masked unique_pattern eyebrow eyering plain eyeline "
    "striped capped",
    "bill_shape": "curved_(up_or_down) dagger hooked needle hooked_seabird spatulate all-purpose "
    "cone specialized",
    "bill_length": "about_the_same_as_head longer_than_head shorter_than_head",
    "wing_shape": "rounded-wings pointed-wings broad-wings tapered-wings long-wings",
    "tail_shape": "forked_tail rounded_tail notched_tail fan-shaped_tail pointed_tail squared_tail",
    "size": "large_(16_-_32_in) small_(5_-_9_in) very_large_(32_-_72_in) medium_(9_-_16_in) "
    "very_small_(3_-_5_in)",
    "shape": "upright-perching_water-like chicken-like-marsh long-legged-like duck-like owl-like "
    "gull-like hummingbird-like pigeon-like tree-clinging-like hawk-like sandpiper-like "
    "upland-ground-like swallow-like perching-like",
}
CUB = [f"has_{part}::{value}" for part, values in _CUB.items() for value in values.split()]
_DEMO = {
    "crown": "red yellow blue white black",
    "beak": "red yellow black",
    "wing": "red yellow blue white black plain barred spotted",
    "belly": "red yellow blue white black",
    "tail": "red yellow blue white black",
}
DEMO = [f"{part}::{value}" for part, values in _DEMO.items() for value in values.split()]
_AWA2 = """black white patches spots stripes furry hairless toughskin big small longleg longneck
tail hooves paws horns claws flys swims walks fast slow fish meat hunter newworld arctic jungle
ocean water tree"""
AWA2 = _AWA2.split()
SUN = [
    "sailing/ boating",
    "trees",
    "grass",
    "rock/stone",
    "still water",
    "running water",
    "glass",
    "natural light",
    "electric/indoor lighting",
    "man-made",
    "natural",
    "no horizon",
    "far-away horizon",
    "rusty",
]


def named(text, names):
    (phrase,) = read_phrases(text, names)
    return [names[k] for k in phrase.attributes]


@pytest.mark.parametrize(
    ("text", "expected"),
    {
        "blue upperparts": "upperparts_color::blue",
        "Upper parts: BLUE": "upperparts_color::blue",
        "a crest": "head_pattern::crested",
        "white belly": "belly_color::white",
        "bely white": "belly_color::white",
        "long bill": "bill_length::longer_than_head",
        "short beak": "bill_length::shorter_than_head",
        "hooked beak": "bill_shape::hooked",
        "cone-shaped bill": "bill_shape::cone",
        "needle-like bill": "bill_shape::needle",
        "forked tail": "tail_shape::forked_tail",
        "striped wings": "wing_pattern::striped",
        "spots on the breast": "breast_pattern::spotted",
        "yellow eyes": "eye_color::yellow",
        "eye ring": "head_pattern::eyering",
        "eyebrow": "head_pattern::eyebrow",
        "mask": "head_pattern::masked",
        "duck-like": "shape::duck-like",
        "small": "size::small_(5_-_9_in)",
        "very small": "size::very_small_(3_-_5_in)",
        "medium size": "size::medium_(9_-_16_in)",
        "orange legs": "leg_color::orange",
        "pinkish feet": "leg_color::pink",
        "iridescent throat": "throat_color::iridescent",
        "gray wings": "wing_color::grey",
        "multi-coloured tail": "tail_pattern::multi-colored",
        "rounded wings": "wing_shape::rounded-wings",
        "white undertail": "under_tail_color::white",
        "mostly blue": "primary_color::blue",
        "blue bird": "primary_color::blue",
        "blue": "primary_color::blue",
        "red head": "crown_color::red",
        "has_wing_color::blue": "wing_color::blue",
        "red and black wings": "wing_color::black wing_color::red",
        "black wings and tail": "wing_color::black upper_tail_color::black",
        "black and white": "primary_color::black primary_color::white",
        "long pointed wings": "wing_shape::pointed-wings wing_shape::long-wings",
    }.items(),
)
def test_what_a_birder_types(text, expected):
    assert sorted(named(text, CUB)) == sorted(f"has_{name}" for name in expected.split())


@pytest.mark.parametrize(
    ("names", "text", "expected"),
    [
        (DEMO, "red belly", ["belly::red"]),
        (DEMO, "red bill", ["beak::red"]),
        (DEMO, "wingbars", ["wing::barred"]),
        (DEMO, "spots", ["wing::spotted"]),
        (AWA2, "striped", ["stripes"]),
        (AWA2, "black and white stripes", ["black", "white", "stripes"]),
        (AWA2, "a long neck", ["longneck"]),
        (AWA2, "lives in water", ["water"]),
        (AWA2, "eats fish", ["fish"]),
        (AWA2, "flies", ["flys"]),
        (AWA2, "hunts", ["hunter"]),
        (AWA2, "tough skin", ["toughskin"]),
        (SUN, "still water", ["still water"]),
        (SUN, "rocks", ["rock/stone"]),
        (SUN, "natural light", ["natural light"]),
        (SUN, "indoor lighting", ["electric/indoor lighting"]),
        (SUN, "boating", ["sailing/ boating"]),
        (SUN, "rust", ["rusty"]),
    ],
)
def test_other_benchmarks(names, text, expected):
    assert named(text, names) == expected


@pytest.mark.parametrize(
    ("names", "text", "offered"),
    [
        (CUB, "webbed feet", "has_leg_color::blue"),
        (CUB, "white wingbars", "has_wing_color::white"),
        (CUB, "spotted", "has_breast_pattern::spotted"),
        (CUB, "long tail", "has_tail_pattern::solid"),
        (CUB, "tail", "has_tail_pattern::solid"),
        (DEMO, "red", "belly::red"),
        (SUN, "water", "still water"),
        (AWA2, "hoofed", "hooves"),
    ],
)
def test_what_names_no_one_attribute_is_offered_the_nearest(names, text, offered):
    (phrase,) = read_phrases(text, names)
    assert phrase.attributes == ()
    assert set(phrase.unknown) <= set(text.split())
    assert phrase.unknown
    assert offered in [names[k] for k in phrase.nearest]


def test_others_are_offered_beside_the_best():
    (phrase,) = read_phrases("black tail", CUB)
    assert [CUB[k] for k in phrase.attributes] == ["has_upper_tail_color::black"]
    assert CUB[phrase.nearest[0]] == "has_under_tail_color::black"


def test_a_description_has_phrases_with_values():
    text = "Blue wings 90, crest; no eye ring\nwhite belly with a red crown and yellow legs: 5 %."
    found = [
        (phrase.text, phrase.value, [CUB[k] for k in phrase.attributes])
        for phrase in read_phrases(text, CUB)
    ]
    assert found == [
        ("Blue wings 90", 90, ["has_wing_color::blue"]),
        ("crest", FULL, ["has_head_pattern::crested"]),
        ("no eye ring", 0, ["has_head_pattern::eyering"]),
        ("white belly", FULL, ["has_belly_color::white"]),
        ("a red crown", 5, ["has_crown_color::red"]),
        ("yellow legs", 5, ["has_leg_color::yellow"]),
    ]
    assert [phrase.value for phrase in read_phrases("no horizon", SUN)] == [FULL]


@pytest.mark.parametrize("names", [CUB, DEMO, AWA2, SUN], ids=["CUB", "DEMO", "AWA2", "SUN"])
def test_every_name_finds_itself(names):
    for k, name in enumerate(names):
        assert [phrase.attributes for phrase in read_phrases(name, names)] == [(k,)]


@pytest.mark.fault("settings")
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("red wing 101", "out of range: expected 0 to 100, found 101"),
        (",".join(["red"] * 65), "too long: expected at most 64 phrases"),
        ("red " * 60, "too long: .* at most 200 characters"),
    ],
)
def test_what_is_refused(text, message):
    with pytest.raises(ConfigError, match=message):
        read_phrases(text, CUB)


@given(st.text(max_size=60), st.sampled_from([CUB, AWA2, ["", "a::", "::b", "7"]]))
def test_any_text_gives_positions(text, names):
    text = re.sub(r"\d{3,}", "99", text)  # no value above 100
    for phrase in read_phrases(text, names):
        positions = [*phrase.attributes, *phrase.nearest]
        assert len(set(positions)) == len(positions)
        assert set(positions) <= set(range(len(names)))
        assert 0 <= phrase.value <= FULL


def test_groups():
    groups = attribute_parts(CUB)
    assert (len(groups), len(set(groups))) == (312, 28)
    assert groups[CUB.index("has_bill_shape::hooked_seabird")] == "bill shape"
    assert attribute_parts(["belly: red", "furry"]) == ["belly", "other"]
    assert attribute_parts(AWA2) is None


def test_the_vocabulary_is_that_of_cub():
    folder = os.environ.get("MSDN_REAL_DATA")
    path = Path(folder or "/none") / "CUB_200_2011" / "attributes" / "attributes.txt"
    if not path.is_file():
        pytest.skip("needs MSDN_REAL_DATA with CUB")
    assert sorted(line.split()[1] for line in path.read_text().splitlines()) == sorted(CUB)
