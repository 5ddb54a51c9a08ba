"""What Gluon's and PyTorch's networks share: names, arguments, parameter files, fine-tuning."""
