"""What training asks of the network: targets, the matcher, losses, denoising."""
