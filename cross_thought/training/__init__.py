"""Around a training: fairseq's flags, its process and log, its checkpoint files; none of it imports fairseq."""
