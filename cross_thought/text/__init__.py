"""From raw text to BPE ids: downloads, corpora, tasks and their files, byte-level BPE; without torch or fairseq."""
