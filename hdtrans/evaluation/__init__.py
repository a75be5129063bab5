"""How good pictures are: functions from images and references to numbers, and the commands that apply them."""
