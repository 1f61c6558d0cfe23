"""What a run trains: kinds of normalization, orderings, models with slots, and what is done to any Keras model."""
