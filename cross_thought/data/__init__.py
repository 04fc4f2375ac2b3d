"""From raw text to fairseq's binary files: downloads, corpora, tasks, byte-level BPE, binarization; without torch."""
