"""What differs between database engines, a class for each."""
