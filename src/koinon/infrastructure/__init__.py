"""What a zone has of its own: clusters, hosts, documents. No other zone knows of it; access follows the shared rules."""
