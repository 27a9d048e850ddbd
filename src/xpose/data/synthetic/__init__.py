"""Pictures drawn with known keypoints: scenes of toys, and shapes that exist nowhere."""
