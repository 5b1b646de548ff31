"""Generated video with known truth: what the tests, the demo and the accuracy tables measure against.

Nothing here is taken from a camera: every frame is drawn from a seed, so the truth comes from how the pixels were made and
never from another detector. :func:`curation.golden.write.write_golden` writes named sets to a folder.
"""
