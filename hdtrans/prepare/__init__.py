"""From annotations in any usual format to a folder that trains, and the check of such a folder."""
