"""What a fetch computes: which commits are new, which objects they need, and the pack that carries them."""
