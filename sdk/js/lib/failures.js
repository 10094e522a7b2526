/** The event cannot be transformed: it goes to quarantine with this text. */
export class Rejected extends Error {
  name = "Rejected";
}

/** What stands at a pointer is not what was asked for. */
export class DataError extends Rejected {
  name = "DataError";

  constructor(pointer, reason) {
    super(`${pointer}: ${reason}`);
    this.pointer = pointer;
  }
}

export function reject(reason) {
  throw new Rejected(String(reason));
}

const missing = {
  crypto: "a plugin has no randomness of its own: Math.random() is seeded by the event's id",
  fetch: "a plugin has no network",
  process: "a plugin has no environment: use the route's config",
  require: "use `import`",
  setInterval: "a plugin has no timers",
  setTimeout: "a plugin has no timers",
  structuredClone: "copy with JSON.parse(JSON.stringify(value)), or data.copy()",
  TextDecoder: "the engine has none: bring one as a package",
  TextEncoder: "the engine has none: a record's body may be a string, which is written as UTF-8",
  URL: "the engine has none: bring one as a package",
  URLSearchParams: "the engine has none: bring one as a package",
};

/** An exception in words: what was thrown, and what helps where a name of browsers or Node was used. */
export function describe(error) {
  if (!(error instanceof Error)) {
    return `threw ${typeof error === "string" ? error : String(JSON.stringify(error))}, which is no Error`;
  }
  const words = error.message === "" ? error.name : `${error.name}: ${error.message}`;
  const name = error instanceof ReferenceError ? /'?([A-Za-z]+)'? is not defined/.exec(error.message)?.[1] : undefined;
  return name !== undefined && Object.hasOwn(missing, name) ? `${words} (${missing[name]})` : words;
}
