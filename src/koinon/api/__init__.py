"""The API: binds what the domain does to the rows of wire/calls, and decides for each call who asks and which zone answers."""
