"""The engine `sglang`: SGLang in this process, with its scheduler as a child. The only importer of sglang.

arguments   a run's knobs → SGLang's ServerArgs; no import of sglang
server      start, coroutines and shutdown of `sglang.Engine`
scheduler   what runs inside SGLang's scheduler process: tells which weights it holds
samples     one sample's course: submitted, cut, resubmitted, ended
memory      given back and taken back by tag
engine      the `Engine` protocol on top of them
weights     stage, commit, probe
"""
