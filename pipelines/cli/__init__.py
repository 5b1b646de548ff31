"""The `stiv` command."""
