"""Options: declared once as fields of a config, and given on the command line as flags."""
