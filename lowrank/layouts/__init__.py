"""A picture as matrices, and back."""
