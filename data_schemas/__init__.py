"""The contract between HARP's parts: table rows, shard layout, version manifests, named errors.

Everything that one part writes and another reads is declared here and nowhere else. This package imports
nothing of ours, so that a reader of published data needs no other part of HARP.
"""

SCHEMA_VERSION = 1
"""Raised when a table column or a shard member changes its meaning; kept in every published manifest."""
