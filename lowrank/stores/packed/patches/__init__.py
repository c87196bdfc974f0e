"""The packed layout `patches`."""
