"""Captions with the category that a person would give them: what the keyword rules are measured with.

Written by hand for this, five for each category, in the manner of captions of stock video; they are no sample of any corpus, and the
rules were not changed after them.
"""

from __future__ import annotations

LABELLED: dict[str, tuple[str, ...]] = {
    "people": (
        "A young woman with long hair looks into the distance and smiles.",
        "Two friends laugh while they sit on a bench and talk.",
        "An old man with wrinkles rubs his eyes.",
        "A mother holds her newborn in her arms.",
        "A crowd waits behind a barrier, some of them waving.",
    ),
    "animals": (
        "A golden retriever chases its tail.",
        "A herd of elephants walks past in a long line.",
        "Close-up of a bee crawling over a yellow petal.",
        "Two kittens wrestle on a blanket.",
        "An owl turns its head and blinks.",
    ),
    "nature": (
        "Morning light falls through tall pines onto ferns.",
        "Snow-covered peaks rise above a green valley.",
        "Wheat sways in the wind on a wide plain.",
        "A canyon of red stone seen from the air.",
        "Autumn leaves drift to the ground in a quiet forest.",
    ),
    "water": (
        "Waves break on a rocky coast.",
        "A stream runs over smooth stones.",
        "A diver glides past a coral reef.",
        "Rain drips from a gutter into a barrel.",
        "The surface of a lake glitters in the evening.",
    ),
    "sky": (
        "Clouds race past in a time-lapse.",
        "The moon rises, huge and orange.",
        "Lightning flashes again and again far away.",
        "The sun sets behind a bank of haze.",
        "Stars turn slowly around the pole.",
    ),
    "city": (
        "Skyscrapers with lit windows at night.",
        "The square is full of pigeons and tourists in front of the cathedral.",
        "A narrow alley between old houses with shuttered windows.",
        "An aerial view of downtown with its grid of avenues.",
        "A street without cars or people on a Sunday morning.",
    ),
    "indoors": (
        "A bright living room with a sofa and two armchairs.",
        "Sunlight moves across an empty corridor.",
        "A bed with white sheets stands below a window.",
        "Books fill the shelves of an old library.",
        "A fireplace glows in a dark room.",
    ),
    "vehicles": (
        "A red sports car speeds along a highway.",
        "A freight train passes, carriage after carriage.",
        "A helicopter takes off and tilts forward.",
        "Lorries queue at a toll station.",
        "A sailboat and a ferry cross each other's wake.",
    ),
    "food": (
        "Melted chocolate is poured over strawberries.",
        "Someone kneads dough on a floured board.",
        "A steak sizzles in a pan with butter and garlic.",
        "Coffee fills a white cup in slow motion.",
        "A bowl of steaming ramen with an egg on top.",
    ),
    "sport": (
        "A goalkeeper dives and saves the penalty.",
        "Cyclists sprint towards the finish line of a race.",
        "A gymnast swings around the bar and lands.",
        "Two boxers trade punches in the ring.",
        "A snowboarder flips over a ramp.",
    ),
    "performance": (
        "A pianist plays with her eyes closed.",
        "A rock band on a stage, smoke and spotlights around them.",
        "Ballet dancers turn in white costumes.",
        "A choir sings in candlelight.",
        "Drummers lead a carnival parade.",
    ),
    "work": (
        "A welder in a mask joins two steel beams, sparks flying.",
        "Bottles move along a conveyor belt in a factory.",
        "A farmer drives a tractor over a ploughed field.",
        "A carpenter planes a plank in his workshop.",
        "Excavators dig at a construction site.",
    ),
    "technology": (
        "Fingers type on a laptop keyboard.",
        "A robot arm places chips on a circuit board.",
        "Rows of servers blink in a data center.",
        "A person swipes through photos on a smartphone.",
        "Lines of code scroll down a monitor.",
    ),
    "science": (
        "A scientist drops a blue liquid into a test tube.",
        "Cells divide under a microscope.",
        "An astronaut floats outside the space station.",
        "A surgeon operates while a nurse hands her the scalpel.",
        "A rover drives over the dust of Mars.",
    ),
    "art": (
        "A painter mixes colours and strokes them onto a canvas.",
        "A sculptor carves a face out of marble.",
        "A mural of flowers covers a wall.",
        "A pencil sketch grows line by line.",
        "Visitors look at portraits in a gallery.",
    ),
    "animation": (
        "A cartoon rabbit hops over a log and winks.",
        "Gameplay of a racing video game with a speedometer.",
        "A 3D render of a castle that assembles itself.",
        "An anime girl with blue hair draws a sword.",
        "An animated logo of a planet spins in CGI.",
    ),
    "text": (
        "White subtitles on black name the actors.",
        "A slide with a bar chart and the title of the talk.",
        "A neon sign spells the word open.",
        "The headline of a newspaper fills the screen.",
        "A map with arrows between its countries.",
    ),
    "shapes": (
        "A green triangle turns slowly on a white background.",
        "Coloured particles swirl into a spiral.",
        "A kaleidoscope of blue and violet patterns.",
        "Three spheres bounce between two cubes.",
        "A black square grows until it fills the picture.",
    ),
}
"""Category → captions. The labels are :data:`curation.captioning.categories.CATEGORIES`."""
