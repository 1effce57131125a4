"""What happens around training: judging, transfer, pictures, progress. A callback does no arithmetic of its own."""
