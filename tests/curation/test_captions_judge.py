"""The default rules over captions, against captions as they are found beside videos and as models write them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pyarrow as pa
import pytest

from curation import joined
from curation.captioning.contract import CaptionText, ClipFacts, caption_clips
from curation.rules import apply_rules
from schemas.recipe import CurateRecipe
from schemas.tables import CAPTIONS, CHECKS

GOOD = [
    "Sunset over mountains",
    "A man says sorry to his friend and walks away in the rain.",
    "Sorry is written in red paint on a brick wall.",
    "A woman holds a sign that reads 'I'm sorry' outside a court house.",
    'A subtitle reads "I can\'t see you" while a girl looks out of a window.',
    "The singer performs 'Can't Help Falling in Love' on a small stage.",
    "A video blogger asks viewers to subscribe to his channel and waves.",
    "A placard invites passers-by to subscribe to the local newspaper.",
    "A cursor moves over a web page and clicks the link at the top.",
    "A hand points at a button labelled 'Click here' on a tablet.",
    "The dog doesn't stop; it's the neighbours' cat that runs off.",
    "It’s five o’clock and the children’s playground is empty.",
    "In 1999, 12 cars raced 3.5 km along Route 66 at 200 km/h.",
    "A pan across a control panel: dials 1, 2 and 3 read 40 %, 55 % and 70 %.",
    "An AI conference: a speaker stands before a slide about robots.",
    "A robot introduced as an AI-powered waiter carries plates through a restaurant.",
    "A scoreboard shows 3 < 4 and then 5 > 4 as the crowd cheers.",
    "People walk past shops in Tokyo; a neon sign reads 東京タワー above the crowd.",
    "Café owner José Muñoz pours a crème brûlée latte for Zoë in Malmö.",
    "Pan left. A man waves. Pan right. A woman waves back. Zoom in on the dog.",
    "A thank-you card reads 'Thanks for watching over us' next to a vase.",
    "A man is unable to open the jar and hands it to his wife, who laughs.",
    "She cannot help her son with the bicycle, so a neighbour provides a pump.",
    "The camera slowly pans across a wide valley. In the foreground, tall grass moves in the wind, while in the "
    "background a river winds between two hills. The light is warm, as in the late afternoon. A hawk circles above the "
    "river and then dives out of the picture. The camera comes to rest on an old stone bridge.",
    "A red car turns left at a crossing, a blue car follows the red car, and a lorry waits for both.",
    "Close-up of a hand-written letter: the words 'My apologies, dear Anna' are legible.",
    "Text on screen: 'Chapter #1'. A train leaves the station at dusk.",
    "Ein Hund läuft über eine Wiese und springt über einen kleinen Bach.",
    "A copy of IMG magazine lies on a desk beside a camera.",
    "An error message on a monitor says that the disk is full; a man sighs.",
]

BAD = {
    "": "no_caption",
    "...": "no_caption",
    "Untitled": "caption_short",
    "Dog running": "caption_short",
    "word " * 100 + "other " * 350: "caption_long",
    "a dog, a dog, a dog, a dog, a dog": "caption_repeats",
    "The man walks down the street. The man walks down the street. The man walks down the street.": "caption_repeats",
    "A cat sits. A cat sits.": "caption_repeats",
    "very very very very very very nice": "caption_repeats",
    "I'm sorry, but I can't assist with that request.": "caption_refusal",
    "I’m sorry, I can’t help with identifying people.": "caption_refusal",
    "Sorry, I am not able to describe this video.": "caption_refusal",
    "I apologize, but the frames do not contain enough information.": "caption_refusal",
    "As an AI language model, I cannot watch videos.": "caption_refusal",
    "As an AI, I don't have the ability to see the clip.": "caption_refusal",
    "I am unable to view the images you mention.": "caption_refusal",
    "I cannot see any video. Please upload the video frames.": "caption_refusal",
    "Unable to process the video.": "caption_refusal",
    "No image was provided, so no description is possible.": "caption_refusal",
    "Unfortunately, I cannot provide a description of this content.": "caption_refusal",
    "Watch the full film at https://example.com/film": "caption_boilerplate",
    "More at www.example.com every week": "caption_boilerplate",
    "Don't forget to like and subscribe!": "caption_boilerplate",
    "Subscribe to our channel for more recipes": "caption_boilerplate",
    "For more information click here.": "caption_boilerplate",
    "Click the link below to get 20 % off": "caption_boilerplate",
    "Copyright 2020 Example Films. All rights reserved.": "caption_boilerplate",
    "Lorem ipsum dolor sit amet": "caption_boilerplate",
    "<p>A dog runs on a beach</p>": "caption_boilerplate",
    "A dog runs &amp; jumps &nbsp; on a beach": "caption_boilerplate",
    "{{title}} by {{author}} on video": "caption_boilerplate",
    "#funny #dogs #viral #fyp": "caption_boilerplate",
    "IMG_20200101_123456": "caption_boilerplate",
    "my holiday film final 2.mp4": "caption_boilerplate",
    "Thanks for watching!": "caption_boilerplate",
    "Красная машина едет по дороге.": "caption_script",
    "一只红色的汽车在路上行驶": "caption_script",
    "Red car красная машина едет": "caption_script",
    "2024 01 01 12 30": "caption_script",
}


class _Given:
    name = "given"
    fingerprint = "given-1"
    warnings = ()

    async def caption(self, clips: Sequence[ClipFacts]) -> list[CaptionText | None]:
        return [CaptionText(c.manifest_caption or "") for c in clips]


def reasons(captions: list[str]) -> list[list[str]]:
    clips = [ClipFacts(str(i), "x", "x", text, {}, []) for i, text in enumerate(captions)]
    rows = asyncio.run(caption_clips(clips, [_Given()], 4000))
    table = joined.add_checks(pa.Table.from_pylist(rows, schema=CAPTIONS.arrow), None)
    return apply_rules(table, CurateRecipe().judge.rules).all


def test_the_lists_are_long_enough_to_mean_something() -> None:
    assert len(set(GOOD)) >= 25
    assert len(BAD) >= 25


@pytest.mark.parametrize("caption", GOOD)
def test_a_good_caption_passes(caption: str) -> None:
    assert reasons([caption]) == [[]]


@pytest.mark.parametrize("caption", BAD)
def test_a_bad_caption_is_dropped_for_its_reason(caption: str) -> None:
    assert BAD[caption] in reasons([caption])[0]


def test_an_absent_caption_has_that_as_its_first_reason() -> None:
    assert reasons([""])[0][0] == "no_caption"


@pytest.mark.parametrize(
    ("checked", "drops"),
    [
        ({}, []),
        ({"dsg_i": 0.0, "agreement": 0.3}, []),
        ({"dsg_i": 0.1, "agreement": 0.2}, []),
        ({"dsg_i": 1 / 9}, ["hallucinated"]),
        ({"agreement": 0.15}, ["mismatch"]),
        ({"dsg_i": 0.5, "agreement": -0.1}, ["hallucinated", "mismatch"]),
        ({"caption_language": "de", "caption_language_score": 0.95}, ["caption_language"]),
    ],
)
def test_what_the_checks_say_is_judged_and_what_was_not_measured_drops_nothing(
    checked: dict[str, object], drops: list[str]
) -> None:
    clip = ClipFacts("0", "x", "x", GOOD[0], {}, [])
    rows = asyncio.run(caption_clips([clip], [_Given()], 4000))
    table = pa.Table.from_pylist(rows, schema=CAPTIONS.arrow)
    checks = pa.Table.from_pylist([{"clip_id": "0", **checked}], schema=CHECKS.arrow)
    verdicts = apply_rules(joined.add_checks(table, checks), CurateRecipe().judge.rules)
    assert verdicts.all == [drops]
