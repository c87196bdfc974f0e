"""The packed layout `channels`."""
