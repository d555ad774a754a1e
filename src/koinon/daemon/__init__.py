"""One zone's process: builds every object, listens, stops cleanly."""
