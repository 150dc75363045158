"""What administrators write: the model, its schema, and the readers of text."""
