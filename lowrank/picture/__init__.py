"""What samples are, and how far two pictures are apart."""
