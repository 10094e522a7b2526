// Imported before the plugin's own modules. What would trap without a word, or make a result depend on something else
// than event, component and configuration, is replaced.
import { log } from "./host.js";

const shown = (value) => {
  if (typeof value === "string") {
    return value;
  }
  if (value instanceof Error) {
    return value.stack ? `${value}\n${value.stack}` : String(value);
  }
  try {
    return JSON.stringify(value, (_, member) => (typeof member === "bigint" ? `${member}n` : member)) ?? String(value);
  } catch {
    return String(value);
  }
};
const writer = (level) => (...values) => log(level, values.map(shown).join(" "));
globalThis.console = Object.freeze({
  debug: writer("debug"),
  error: writer("error"),
  info: writer("info"),
  log: writer("info"),
  trace: writer("debug"),
  warn: writer("warn"),
});

const noClock = () => {
  throw new Error("a plugin has no clock: use event.time");
};
const RealDate = globalThis.Date;
globalThis.Date = new Proxy(RealDate, {
  apply: noClock,
  construct: (target, values, newTarget) =>
    values.length === 0 ? noClock() : Reflect.construct(target, values, newTarget),
  get: (target, name) => (name === "now" ? noClock : Reflect.get(target, name)),
});
RealDate.prototype.constructor = globalThis.Date;
if (globalThis.performance !== undefined) {
  globalThis.performance = { now: noClock };
}

let state = 0;

/** Seeds Math.random: the same event gives the same numbers, whatever the instance did before. */
export function seed(text) {
  let hash = 0x811c9dc5;
  for (let index = 0; index < text.length; index += 1) {
    hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  }
  state = hash >>> 0;
}

// mulberry32
Math.random = () => {
  state = (state + 0x6d2b79f5) >>> 0;
  let mixed = Math.imul(state ^ (state >>> 15), state | 1);
  mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
  return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
};
