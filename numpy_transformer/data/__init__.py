"""Data: tasks, text, tokenizers, batches."""
