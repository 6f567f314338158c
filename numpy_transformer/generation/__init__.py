"""Generation: from a trained model to sequences. Read incremental, then greedy, then beam."""
