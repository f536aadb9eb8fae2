"""The engine `sglang`: SGLang in this process, with its scheduler as a child. The only importer of sglang.

arguments   a run's knobs → SGLang's ServerArgs; no import of sglang
server      start, coroutines and shutdown of `sglang.Engine`
scheduler   what runs inside SGLang's scheduler processes: tells which weights they hold
held_…      digests of that, over all GPUs of the engine
samples     one sample's course: submitted, cut, resubmitted, ended
memory      given back and taken back by tag
engine      the `Engine` protocol on top of them
start_report  what stopped a scheduler's start, as far as it was memory; no import of sglang
starting    both of them for a replica
weights     stage, commit, probe
"""
