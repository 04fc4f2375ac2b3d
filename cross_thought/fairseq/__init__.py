"""The fairseq side: what makes 0.10.0 run here, the registered model, and fairseq's command line with both."""
