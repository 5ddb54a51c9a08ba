"""An exported symbol as data: MXNet's JSON read, checked, walked and rewritten."""
