"""What users and groups may use of a zone: limits and rules that belong to the zone alone and never travel."""
