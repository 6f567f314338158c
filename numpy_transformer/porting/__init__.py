"""Weights from outside: files of other libraries, read and written with NumPy alone.

Such a file may be damaged, or made by someone who means harm. Nothing in it is ever run, nothing
is allocated because it says so, and what cannot be used raises a ``PortingError`` that says why.
"""
