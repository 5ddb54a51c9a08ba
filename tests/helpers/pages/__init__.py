"""Documents, web pages and servers."""
