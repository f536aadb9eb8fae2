"""The launcher: keeps the processes of a run alive on one machine.

It takes a list of `Role`s and knows neither the run file nor what a service does.
"""
