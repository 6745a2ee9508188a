"""Pictures: drawn from what others computed."""
