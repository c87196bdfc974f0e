"""What is asked for, and how much of a spectrum that is."""
