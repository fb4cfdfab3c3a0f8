"""How fast RoLoRA contracts in the homogeneous linear model, and the samples that it takes."""
