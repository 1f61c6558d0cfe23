"""How fast normlib is, beside plain Keras, plain PyTorch and what the machine could do: ``make benchmark``."""
