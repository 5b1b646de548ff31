"""The stages, in the order in which data flows. Each is a plain function of a part that does nothing when the part is done."""
