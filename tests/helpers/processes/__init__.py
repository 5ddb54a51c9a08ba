"""Scripts, commands and Python processes, as tests run them."""
