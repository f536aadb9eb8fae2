"""Stands in for the real service."""

from stand_in import enter

from tetrad_config.process import CoordinatorSettings

enter("learner", CoordinatorSettings)
