"""What both packed layouts share."""
