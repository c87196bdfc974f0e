"""What the library hands out: pictures and stacks that `.lrk` files hold, and what it reads."""
