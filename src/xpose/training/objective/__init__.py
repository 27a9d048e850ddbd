"""The training objective: targets, the matcher, losses, denoising."""
