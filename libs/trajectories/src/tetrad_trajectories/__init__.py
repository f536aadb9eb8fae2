"""Datasets and journals in Parquet; the only importer of pyarrow.

Owns the row format of prompts, the dataset cursor and the files of sealed steps. Knows no socket and no model.
"""
