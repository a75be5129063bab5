"""Reading annotated data sets: the contract of a format, and the tools that formats share."""
