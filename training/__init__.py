"""What makes models and data: the synthesiser and the recipe of the embedded model."""
