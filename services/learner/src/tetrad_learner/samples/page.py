"""The page: one HTML file with style, script and data in it.

Owns what stands in the data. Nothing that a model or a dataset wrote becomes markup: it is data here, and text nodes in
the browser; and the page's own policy lets it run this one script and load nothing.
"""

from __future__ import annotations

import base64
import hashlib
import json
from html import escape
from importlib.resources import files
from typing import Final

import numpy as np

from tetrad_learner.samples.selection import Selection, ShownStep
from tetrad_learner.samples.token_texts import TokenTexts
from tetrad_trajectories.journal import JournalSample

# Of a log-probability; a thousandth of a nat is more than a colour shows.
DECIMALS: Final = 4


def render(selection: Selection, texts: TokenTexts, *, run: str) -> str:
    """Return the page."""
    script, style = _asset("page.js"), _asset("page.css")
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{allowed}'"
    data = {
        "run": run,
        "leftOut": selection.left_out,
        "notice": texts.notice,
        "steps": [_step(step, texts) for step in selection.steps],
    }
    return "\n".join(
        (
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(run)}: samples</title>",
            f"<style>{style}</style></head><body>",
            _asset("page.html"),
            f'<script type="application/json" id="data">{embedded(data)}</script>',
            f"<script>{script}</script>",
            "</body></html>\n",
        )
    )


def embedded(data: object) -> str:
    r"""Return JSON that cannot end, or begin, an element.

    >>> embedded("</script><!--")
    '"\\u003c/script\\u003e\\u003c!--"'
    """
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _asset(name: str) -> str:
    return files("tetrad_learner.samples").joinpath(name).read_text(encoding="utf-8")


def _step(step: ShownStep, texts: TokenTexts) -> dict[str, object]:
    groups = [{"draw": group[0].draw, "samples": [_sample(sample, texts) for sample in group]} for group in step.groups]
    return {"step": step.step, "lineage": step.lineage, "groups": groups}


def _sample(sample: JournalSample, texts: TokenTexts) -> dict[str, object]:
    ids = sample.token_ids.tolist()
    rewards = zip(sample.reward_positions.tolist(), sample.reward_values.tolist(), strict=True)
    return {
        "index": sample.index,
        "reward": round(sample.reward, 6),
        "finish": sample.finish_reason.value,
        "turns": sample.num_turns,
        "prompt": sample.prompt_length,
        "versions": [[span.version, span.length] for span in sample.spans],
        "seconds": round(sample.seconds, 3),
        "grader": sample.grader_version,
        "engine": sample.incarnation,
        "metrics": {name: round(value, 6) for name, value in sample.metrics.items() if np.isfinite(value)},
        "rewards": [[place, round(value, 6)] for place, value in rewards],
        "ids": ids,
        "texts": texts.pieces(ids),
        "mask": "".join(map(str, sample.loss_mask.tolist())),
        # A log-prob that is not finite is no JSON; the page shows that there is none.
        "logprobs": [
            round(value, DECIMALS) if np.isfinite(value) else None for value in sample.rollout_logprobs.tolist()
        ],
    }
