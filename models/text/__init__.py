"""Encoders from captions to the tokens that the network attends to."""
