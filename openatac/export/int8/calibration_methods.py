"""The methods that choose the 8-bit range of each tensor of the symbol form, from calibration images.

'naive' takes the extremes of a tensor; 'entropy' takes the range that loses the least information
(Kullback-Leibler divergence), cutting off rare extremes.
"""
CALIBRATION_METHODS = ('entropy', 'naive')  # the first is the default
