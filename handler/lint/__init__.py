"""Warnings about valid profiles that probably contain a mistake."""
