"""How a statement is checked: claims, registry, runner, statistics."""
