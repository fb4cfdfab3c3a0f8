"""How fast the engines are: against a plain PEFT loop and against Flower, on the same job in one run."""
