"""The learner's mind: registry, ledger, admission, evaluation, schedule. No torch here."""
