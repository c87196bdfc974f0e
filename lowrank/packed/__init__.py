"""The packed store: quantised, entropy-coded factors of the matrix of patches."""
