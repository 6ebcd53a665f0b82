"""What does auth keep, and under which revision?"""
