"""Backbones: loading, architectures, conversion, quantisation, adapter targets, PEFT boundary, costs, precision."""
