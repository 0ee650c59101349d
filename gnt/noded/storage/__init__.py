"""Disk templates."""
