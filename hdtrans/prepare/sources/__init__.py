"""Read annotated data sets: the format contract, and parsers, shapes and tables shared by formats."""
