"""Pictures to and from files and arrays: the only room with foreign libraries."""
