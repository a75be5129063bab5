"""Kinds of training data, one file each: `Section` in each file is the section `data` of a recipe."""
