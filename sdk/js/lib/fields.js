import { DataError } from "./failures.js";

class Field {
  constructor(kind, accepts, pointer, fallback) {
    this.kind = kind;
    this.accepts = accepts;
    this.pointer = pointer;
    this.fallback = fallback;
  }

  /** The value to take where nothing, or null, is there. */
  or(fallback) {
    return new Field(this.kind, this.accepts, this.pointer, { value: fallback });
  }
}

const kind = (name, accepts) => (pointer) => new Field(name, accepts, pointer, undefined);

export const text = kind("text", (value) => typeof value === "string");
export const number = kind("a number", (value) => typeof value === "number");
export const integer = kind("an integer", (value) => Number.isSafeInteger(value));
export const boolean = kind("true or false", (value) => typeof value === "boolean");
export const json = kind("a value", () => true);

/** The value where it is of the field's kind. */
export function check(field, pointer, value) {
  if (value === undefined || value === null) {
    if (field.fallback !== undefined) {
      return field.fallback.value;
    }
    if (field.kind === "a value" && value === null) {
      return value;
    }
    throw new DataError(pointer, value === null ? `is null, not ${field.kind}` : "nothing is there");
  }
  if (!field.accepts(value)) {
    throw new DataError(pointer, `is ${name(value)}, not ${field.kind}`);
  }
  return value;
}

function name(value) {
  if (Array.isArray(value)) {
    return "an array";
  }
  const names = { boolean: "true or false", number: "a number", object: "an object", string: "text" };
  return names[typeof value];
}

/** Reads a route's configuration: every member is named, none is unknown. */
export function readConfig(config, fields) {
  if (typeof config !== "object" || config === null || Array.isArray(config)) {
    throw new Error("the configuration is no object");
  }
  const unknown = Object.keys(config).find((name) => !Object.hasOwn(fields, name));
  if (unknown !== undefined) {
    throw new Error(`unknown member ${JSON.stringify(unknown)}: there are ${Object.keys(fields).join(", ")}`);
  }
  return Object.fromEntries(
    Object.entries(fields).map(([name, field]) => [name, check(field, `/${name}`, config[name])]),
  );
}
