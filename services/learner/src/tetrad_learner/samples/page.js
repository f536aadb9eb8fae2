"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const PAGE = 20; // groups that are shown before somebody asks for more
  const SPECIAL = /^<[|\w/]+>$|^\[[A-Z]+\]$/;
  const state = { step: data.steps.length - 1, order: "drawn", search: "", shown: PAGE };
  const byId = (id) => document.getElementById(id);

  // Everything that anybody wrote passes through here, as text.
  function element(name, className, ...children) {
    const made = document.createElement(name);
    if (className) made.className = className;
    made.append(...children.filter((child) => child !== null));
    return made;
  }

  // Certain tokens are white; the less likely, the darker: amber for one in ten, red for one in a thousand.
  function colour(logprob) {
    const doubt = Math.min(1, -logprob / Math.log(1000));
    const hue = 48 - 44 * doubt;
    return `hsl(${hue} 95% ${100 - 38 * Math.sqrt(doubt)}%)`;
  }

  function number(value) {
    return Number.isInteger(value) ? String(value) : value.toFixed(4).replace(/0+$/, "");
  }

  function shownText(text) {
    const parts = [];
    for (const part of text.split(/(\n|\t)/)) {
      if (part === "\n") parts.push(element("span", "white", "⏎"), "\n");
      else if (part === "\t") parts.push(element("span", "white", "⇥\t"));
      else if (part) parts.push(part);
    }
    return parts.length ? parts : [element("span", "white", "·")];
  }

  function versionAt(sample, place) {
    let sampled = 0;
    for (let at = 0; at < place; at += 1) sampled += sample.mask[at] === "1";
    for (const [version, length] of sample.versions) {
      if (sampled < length) return version;
      sampled -= length;
    }
    return null;
  }

  function token(sample, place) {
    const text = sample.texts[place];
    const isTrained = sample.mask[place] === "1";
    const made = element("span", isTrained ? "token" : "token masked", ...shownText(text));
    if (SPECIAL.test(text.trim())) made.classList.add("special");
    if (isTrained && sample.logprobs[place] !== null) made.style.background = colour(sample.logprobs[place]);
    made.tip = () => tipText(sample, place, isTrained);
    return made;
  }

  function tipText(sample, place, isTrained) {
    const lines = [`${JSON.stringify(sample.texts[place])}`, `id ${sample.ids[place]} · place ${place}`];
    if (!isTrained) return [...lines, "not trained: prompt or observation"].join("\n");
    const logprob = sample.logprobs[place];
    const version = versionAt(sample, place);
    lines.push(logprob === null ? "log-prob not finite" : `log-prob ${logprob.toFixed(4)} · p ${(Math.exp(logprob) * 100).toPrecision(3)} %`);
    if (version !== null) lines.push(`policy version ${version}`);
    return lines.join("\n");
  }

  function tokens(sample, begin, end) {
    const made = [];
    const rewards = new Map(sample.rewards);
    for (let place = begin; place < end; place += 1) {
      made.push(token(sample, place));
      if (rewards.has(place) && sample.turns > 1) made.push(element("span", "reward", `reward ${number(rewards.get(place))}`));
    }
    return made;
  }

  function facts(sample) {
    const trained = sample.mask.split("1").length - 1;
    const versions = sample.versions.map(([version, length]) => (sample.versions.length > 1 ? `${version} (${length})` : version));
    const made = element("div", "facts",
      element("b", "", `reward ${number(sample.reward)}`),
      element("span", `chip ${sample.finish}`, sample.finish),
      sample.turns > 1 ? element("span", "chip", `${sample.turns} turns`) : null,
      element("span", "", `sample ${sample.index}`),
      element("span", "", `${trained} tokens`),
      element("span", "", `policy version ${versions.join(", ") || "–"}`));
    for (const [name, value] of Object.entries(sample.metrics)) made.append(element("span", "", `${name} ${number(value)}`));
    made.tip = () => `${sample.seconds} s from grant to grade\nengine ${sample.engine || "–"}\ngrader ${sample.grader || "–"}`;
    return made;
  }

  function samePrompt(group) {
    const [first, ...others] = group.samples;
    const prompt = (sample) => sample.ids.slice(0, sample.prompt).join();
    return others.every((sample) => prompt(sample) === prompt(first));
  }

  function mean(group) {
    return group.samples.reduce((sum, sample) => sum + sample.reward, 0) / group.samples.length;
  }

  function ordered(group) {
    const sign = { drawn: 0, best: -1, worst: 1 }[state.order];
    return [...group.samples].sort((left, right) => sign * (left.reward - right.reward) || left.index - right.index);
  }

  function groupCard(group) {
    const isShared = samePrompt(group);
    const card = element("section", "group",
      element("h2", "", `draw ${group.draw}`, element("small", "", `${group.samples.length} samples · mean reward ${number(mean(group))}`)));
    if (isShared) card.append(element("div", "text prompt", ...tokens(group.samples[0], 0, group.samples[0].prompt)));
    for (const sample of ordered(group)) {
      const begin = isShared ? sample.prompt : 0;
      card.append(element("div", "sample", facts(sample), element("div", "text", ...tokens(sample, begin, sample.ids.length))));
    }
    return card;
  }

  function matching(step) {
    const wanted = state.search.toLowerCase();
    const groups = step.groups.filter((group) => !wanted || group.samples.some((sample) => sample.texts.join("").toLowerCase().includes(wanted)));
    const sign = { drawn: 0, best: -1, worst: 1 }[state.order];
    return groups.sort((left, right) => sign * (mean(left) - mean(right)) || left.draw - right.draw);
  }

  function showGroups() {
    const groups = matching(data.steps[state.step]);
    const cards = groups.slice(0, state.shown).map(groupCard);
    if (!groups.length) cards.push(element("p", "empty", "No group of this step contains that text."));
    if (groups.length > state.shown) {
      const more = element("button", "more", `${groups.length - state.shown} more groups`);
      more.onclick = () => { state.shown += PAGE; showGroups(); };
      cards.push(more);
    }
    byId("groups").replaceChildren(...cards);
  }

  function showSteps() {
    const means = data.steps.map((step) => {
      const rewards = step.groups.flatMap((group) => group.samples.map((sample) => sample.reward));
      return rewards.reduce((sum, reward) => sum + reward, 0) / rewards.length;
    });
    const low = Math.min(0, ...means);
    const span = Math.max(1, ...means) - low;
    byId("steps").replaceChildren(...data.steps.map((step, place) => {
      const filled = element("i", "");
      filled.style.width = `${(100 * (means[place] - low)) / span}%`;
      const button = element("button", "", element("span", "", `step ${step.step}`), element("span", "", number(means[place])), element("div", "bar", filled));
      if (place === state.step) button.setAttribute("aria-current", "true");
      button.title = `mean reward of the samples shown; lineage ${step.lineage}`;
      button.onclick = () => { state.step = place; state.shown = PAGE; showSteps(); showGroups(); window.scrollTo(0, 0); };
      return button;
    }));
  }

  function showLegend() {
    const keys = [[1, "certain"], [0.5, "50 %"], [0.1, "10 %"], [0.01, "1 %"], [0.001, "0.1 %"]];
    byId("legend").append("probability ", ...keys.map(([probability, name]) => {
      const key = element("i", "", name);
      key.style.background = colour(Math.log(probability));
      return key;
    }), element("i", "token masked", "not trained"));
  }

  function showTip(event) {
    const tip = byId("tip");
    let target = event.target;
    while (target && !target.tip) target = target.parentElement;
    tip.hidden = !target;
    if (!target) return;
    tip.textContent = target.tip();
    const left = Math.min(event.clientX + 14, window.innerWidth - tip.offsetWidth - 8);
    const isLow = event.clientY + 20 + tip.offsetHeight > window.innerHeight;
    tip.style.left = `${Math.max(8, left)}px`;
    tip.style.top = `${isLow ? event.clientY - tip.offsetHeight - 12 : event.clientY + 18}px`;
  }

  byId("run").textContent = data.run;
  byId("notes").textContent = [...data.leftOut, data.notice].filter(Boolean).join("\n");
  byId("order").onchange = (event) => { state.order = event.target.value; showGroups(); };
  byId("search").oninput = (event) => { state.search = event.target.value; state.shown = PAGE; showGroups(); };
  document.addEventListener("mousemove", showTip);
  showLegend();
  showSteps();
  showGroups();
})();
