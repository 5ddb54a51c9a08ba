"""The networks in frameworks other than MXNet."""
