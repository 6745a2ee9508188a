"""The ground floor: files, folders, progress, and what made what."""
