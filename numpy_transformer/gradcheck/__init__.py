"""A checker for gradients that are written by hand."""

from numpy_transformer.gradcheck.check import METHODS, check, gradcheck
from numpy_transformer.gradcheck.face import Call, FaceError
from numpy_transformer.gradcheck.report import Gradient, Report, Rule

__all__ = ["METHODS", "Call", "FaceError", "Gradient", "Report", "Rule", "check", "gradcheck"]
