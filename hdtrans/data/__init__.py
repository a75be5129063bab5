"""Reading pictures and maps, one random geometry per sample, the resumable order of samples, the toy street scenes."""
