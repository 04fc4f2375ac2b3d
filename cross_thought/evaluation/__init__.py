"""From predictions, embeddings and trained weights to numbers: metrics, significance, the cross path."""
