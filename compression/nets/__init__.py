"""Networks as plans: the torch twin, its training, and the file behind the parity gate."""
