"""Finding text in pictures: where it stands and how much of the picture it covers. No reading, and no torch."""
