"""From a trained model to the smallest file that runs."""
