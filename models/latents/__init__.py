"""Autoencoders between pixels and the latents that the network works on."""
