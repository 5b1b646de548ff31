"""Puts operators on machines: the stages, the inline run and the Ray run, the command line and its pages."""
