"""The STIV network: a video Diffusion Transformer conditioned on text and given frames (arXiv 2412.07730)."""
