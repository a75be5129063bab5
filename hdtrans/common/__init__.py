"""What every room needs and no room owns: errors, files that appear whole, the class table, HTML pages."""
