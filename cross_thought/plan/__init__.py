"""What a run will cost before it starts: words, operations, hours, disk and memory. Needs no torch."""
