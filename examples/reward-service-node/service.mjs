// A reward service for Tetrad: grades sums. Speaks docs/reference/protocol.md; change `grade` and `GRADER`.
import { createHash, randomBytes } from "node:crypto";
import { hostname } from "node:os";
import { decode, encode } from "@msgpack/msgpack";
import { Dealer, Router } from "zeromq";

const GRADER = "node-sum-1"; // changes whenever grading may change
const MAX = { header: 4 << 20, frame: 64 << 20, buffers: 64, depth: 32, episodes: 4096, idle_ms: 900_000, drain_ms: 20_000 };

function grade(action, row) {
  const extracted = action.match(/-?\d+/g)?.at(-1) ?? null;
  return { reward: extracted === row.ground_truth.trim() ? 1 : 0, extracted, rule: "last_number" };
}

// Where to register, where rollouts reach us; edition 0 stands by until `tetrad reward swap --endpoint`.
const { TETRAD_COORDINATOR: coordinator, TETRAD_BIND: bind, TETRAD_NAME: name = "reward-node" } = process.env;
const { TETRAD_EDITION: edition = "0", ENV_CLASS: env = "arithmetic" } = process.env;
const BEATS = { heartbeatInterval: 2000, heartbeatTimeout: 6000, heartbeatTimeToLive: 8000 };
const ZMTP = { ...BEATS, maxMessageSize: MAX.frame, linger: 0, sendTimeout: 0 };
const incarnation = randomBytes(8).toString("hex");
const router = new Router({ ...ZMTP, handover: true, mandatory: true });
const dealer = new Dealer({ ...ZMTP, routingId: `${name}-${incarnation}` });
const state = { run: "", epoch: 0, generation: 0, registered: false, draining: false, beat_ms: 500, nextId: 1 };

const isText = (value) => typeof value === "string";
const isMap = (value) => value !== null && typeof value === "object" && !Array.isArray(value) && !ArrayBuffer.isView(value);
const areAll = (isKind) => (value) => Array.isArray(value) && value.every(isKind);
const maybe = (isKind) => (value) => value === undefined || isKind(value);
const areTurns = areAll((one) => isMap(one) && isText(one.role) && isText(one.content));
const FIELDS = {
  open_episodes: {
    episodes: areAll(isText), env_class: isText, messages: areTurns, ground_truth: (value) => value === null || isText(value),
    seeds: (value, body) => areAll(Number.isInteger)(value) && value.length === body.episodes.length,
    extras: maybe(isMap), max_turns: maybe(Number.isInteger), grader_version: maybe(isText),
  },
  step_episode: { episode: isText, turn: Number.isInteger, action: isText },
  close_episodes: { episodes: areAll(isText) },
  desired: { generation: Number.isInteger, state: isText, run: isText, heartbeat_s: maybe((value) => value > 0 && value < 1e6) },
};
const isLeaf = (value) => ["string", "number", "boolean"].includes(typeof value) || value === null || ArrayBuffer.isView(value);
const areShallow = (value, depth) => depth < MAX.depth && Object.values(value).every((one) => isPlain(one, depth + 1));
const isPlain = (value, depth = 0) => (isMap(value) || Array.isArray(value) ? areShallow(value, depth) : isLeaf(value));

// Returns a message, or null for what breaks a rule: it is dropped and not answered.
function read(frames) {
  if (frames.length === 0 || frames[0].length > MAX.header || frames.length - 1 > MAX.buffers) return null;
  try {
    const header = decode(frames[0]);
    if (!isMap(header) || header.v !== 1 || !Number.isInteger(header.id) || !isMap(header.body)) return null;
    if (!isPlain(header) || (header.buffers ?? []).length !== frames.length - 1) return null;
    const isWrong = ([name, isKind]) => !isKind(header.body[name], header.body);
    if (Object.entries(FIELDS[header.kind]).some(isWrong)) return null; // an unknown kind throws
    return header.run && state.run && header.run !== state.run ? null : header;
  } catch {
    return null;
  }
}
function write(kind, body, replyTo) {
  return encode({ v: 1, kind, id: state.nextId++, run: state.run, epoch: state.epoch, reply_to: replyTo ?? null, body });
}
const sending = new Map(); // a socket sends one message at a time; what cannot be sent is asked for again
function send(socket, frames) {
  sending.set(socket, (sending.get(socket) ?? Promise.resolve()).then(() => socket.send(frames)).catch(() => {}));
}

const episodes = new Map(); // id → { group, turns: [{ action, answer }], done, at }
const unfinished = () => [...episodes.values()].filter((one) => !one.done).length;
const credit = () => (state.draining ? 0 : MAX.episodes - unfinished());
const refused = (kind, reason) => ["episodes_refused", { kind, reason }];
function open(body) {
  const content = createHash("sha256").update(encode(body)).digest("hex");
  const known = body.episodes.filter((id) => episodes.has(id));
  if (state.draining) return refused("infra", "this replica is draining; ask another");
  if (![env, ""].includes(body.env_class)) return refused("data", `no environment ${body.env_class}; try ${env}`);
  if (![GRADER, "", undefined].includes(body.grader_version)) return refused("infra", `pinned to another than ${GRADER}`);
  if (body.ground_truth === null) return refused("data", "the row has no ground_truth");
  const answer = ["episodes_opened", { prompts: [body.messages], grader_version: GRADER }];
  const number = new Set(body.episodes).size;
  const isRepeated = known.length === number && known.every((id) => episodes.get(id).group === content);
  if (known.length > 0) return isRepeated ? answer : refused("infra", "these episode ids are in use for something else");
  if (number === 0 || number < body.episodes.length) return refused("infra", "each episode needs an id of its own");
  if (number > credit()) return refused("infra", `${number} more episodes; there is room for ${credit()}`);
  for (const [id, one] of episodes) if (one.done && episodes.size + number > MAX.episodes) episodes.delete(id);
  for (const id of body.episodes) episodes.set(id, { group: content, row: body, turns: [], done: false, at: Date.now() });
  return answer;
}

function graded(action, row) {
  try {
    return { outcome: "ok", is_done: true, ...grade(action, row) }; // of several turns: false, and observations
  } catch (error) {
    return { outcome: "crashed", kind: "data", reason: String(error) };
  }
}
function step({ episode, turn, action }) {
  const refusal = (reason) => ["episode_stepped", { episode, turn, outcome: "refused", kind: "infra", reason }];
  const one = episodes.get(episode);
  if (!one) return refusal(`no episode ${episode} here; open a new one`);
  one.at = Date.now();
  const before = one.turns[turn];
  if (before) return before.action === action ? before.answer : refusal(`turn ${turn} was asked before with another action`);
  if (one.done || turn !== one.turns.length) return refusal(`${one.turns.length} turns are graded, done: ${one.done}`);
  const answer = ["episode_stepped", { episode, turn, ...graded(action, one.row) }];
  one.turns.push({ action, answer });
  one.done = true;
  return answer;
}

async function serve() {
  const close = (body) => body.episodes.forEach((id) => episodes.delete(id)); // not answered
  for await (const [peer, ...frames] of router) {
    const message = read(frames);
    const answer = { open_episodes: open, step_episode: step, close_episodes: close }[message?.kind]?.(message.body);
    if (answer) send(router, [peer, write(...answer, message.id)]);
  }
}

function hello() {
  const environments = [{ name: env, grader_version: GRADER, is_replayable: true }];
  const reward = { environments, credit: MAX.episodes, edition: Number(edition) };
  const here = { endpoint: bind, host: hostname(), pid: process.pid, versions: { node: process.version } };
  return write("hello", { role: "reward", name, incarnation, reward, ...here });
}
async function follow() {
  for await (const frames of dealer) {
    const message = read(frames);
    if (message?.kind !== "desired" || (message.epoch && message.epoch < state.epoch)) continue;
    state.epoch = message.epoch || state.epoch;
    const { run, generation, heartbeat_s, should_register, should_drain, state: ofRun } = message.body;
    Object.assign(state, { registered: !should_register, run, generation, beat_ms: 1000 * (heartbeat_s ?? 2) });
    if (should_drain || ["ended", "failed"].includes(ofRun)) state.draining = true;
  }
}
async function beat() {
  for (let asked = 0; ; await new Promise((wake) => setTimeout(wake, state.registered ? state.beat_ms : 500))) {
    for (const [id, one] of episodes) if (one.at < Date.now() - MAX.idle_ms) episodes.delete(id);
    const pulse = { incarnation, generation: state.generation, credit: credit(), is_draining: state.draining };
    send(dealer, state.registered ? write("heartbeat", pulse) : hello());
    if (state.draining) asked ||= Date.now();
    if (state.draining && (unfinished() === 0 || Date.now() - asked > MAX.drain_ms)) break;
  }
  send(dealer, write("bye", { incarnation, reason: "drained" }));
  setTimeout(() => process.exit(0), 500); // a moment for what was sent last
}

await router.bind(bind);
dealer.connect(coordinator);
for (const signal of ["SIGTERM", "SIGINT"]) process.on(signal, () => (state.draining = true));
console.log(`${name} grades ${env} at ${bind}, edition ${edition}`);
await Promise.all([serve(), follow(), beat()]);
