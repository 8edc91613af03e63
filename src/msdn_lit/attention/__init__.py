"""Whether a model attends to the places where the attributes are."""
