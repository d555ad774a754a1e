"""Who may do what: rights, permission bits, ACL rules, decide() and visible(). Pure: knows numbers, not tables."""
