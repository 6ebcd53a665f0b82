"""What may callers do?"""
