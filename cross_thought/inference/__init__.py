"""A trained encoder in its users' hands: loading, embedding, exporting; torch, and neither fairseq nor the workflow."""
