"""Which factor is trained when, and with which step."""
