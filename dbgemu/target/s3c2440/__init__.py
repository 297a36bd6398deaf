"""The S3C2440A: one module for each block of its manual."""
