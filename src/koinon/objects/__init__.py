"""What every resource shares: kinds, names, template text, XML."""
