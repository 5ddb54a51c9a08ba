"""Made-up images, and the real ones beside the checkout."""
