"""Measures of routing: how good the choices are that follow from predictions."""
