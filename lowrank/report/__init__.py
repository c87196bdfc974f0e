"""Measured errors beside the bounds that no rank-k matrix can beat."""
