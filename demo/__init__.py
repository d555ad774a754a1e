"""``make demo``: a federation of three zones on this machine, its main promises shown step by step."""
