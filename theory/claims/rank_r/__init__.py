"""The linear model at rank r."""
