"""What a zone has of its own, on its real database."""
