"""Reports: JSON and table of an evaluation, comparison page of runs."""
