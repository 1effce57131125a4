"""Files of body estimators."""
