"""One file in, one file out; and many of them."""
