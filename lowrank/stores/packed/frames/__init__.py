"""Layout `stack`, packed: planes of a Karhunen-Loève transform across the frames."""
