"""Speed and memory of inference, training, reading and preparing on this machine."""
