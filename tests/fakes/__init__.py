"""Small made-up data in the layouts that users have on disk."""
