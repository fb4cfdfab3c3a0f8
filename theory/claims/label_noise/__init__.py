"""Label noise: statistical floor, efficiency, fresh data."""
