"""Users, groups, VDCs, ACL rules, zones, and who is calling: the shared objects that every zone of a federation knows."""
