"""The mean and standard deviation of CIFAR's colours, with which tests compare the package's values."""

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)  # as published, for pixels from 0 to 1
PIXEL_MEAN, PIXEL_STD = (125.3, 123.0, 113.9), (51.6, 50.8, 51.3)  # rounded, for pixels from 0 to 255
