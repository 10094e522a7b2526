// JSON values as they pass between plugin and gateway. A number of the contract's `s64` arrives rounded where it is
// beyond 2^53, and a BigInt would trap: neither may happen unseen.
import { DataError } from "./failures.js";

export const tooLarge = "the integer is too large for a JavaScript number: read it with getBigInt";

/** undefined: nothing is there. */
export function fromHost(pointer, value) {
  switch (value?.tag) {
    case undefined:
      return undefined;
    case "null":
      return null;
    case "integer":
      if (!Number.isSafeInteger(value.val)) {
        throw new DataError(pointer, tooLarge);
      }
      return value.val;
    case "json":
      return fromJson(pointer, value.val);
    default:
      return value.val;
  }
}

function fromJson(pointer, text) {
  const value = JSON.parse(text);
  if (typeof value === "number") {
    throw new DataError(pointer, tooLarge);
  }
  // Text in quotes is skipped; any other run of 16 digits may be an integer that was rounded.
  if (/\d{16}/.test(text)) {
    for (const [run] of text.matchAll(/"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*/g)) {
      if (/^-?\d{16,}$/.test(run) && !Number.isSafeInteger(Number(run))) {
        throw new DataError(pointer, `${run} is too large for a JavaScript number: read it alone with getBigInt`);
      }
    }
  }
  return value;
}

export function toHost(pointer, value) {
  switch (typeof value) {
    case "undefined":
      throw new TypeError(`${pointer}: undefined is no JSON value: use null, or remove`);
    case "boolean":
      return { tag: "boolean", val: value };
    case "number":
      if (!Number.isFinite(value)) {
        throw new RangeError(`${pointer}: ${value} is no JSON value`);
      }
      return Number.isSafeInteger(value) && !Object.is(value, -0)
        ? { tag: "integer", val: value }
        : { tag: "number", val: value };
    case "bigint":
      return { tag: "json", val: value.toString() };
    case "string":
      return { tag: "text", val: value };
    default:
      return value === null ? { tag: "null" } : { tag: "json", val: toJson(pointer, value) };
  }
}

/** JSON text; BigInts are written as integers. */
export function toJson(pointer, value) {
  const text = JSON.stringify(value, (_, member) => {
    if (typeof member === "number" && !Number.isFinite(member)) {
      throw new RangeError(`${pointer}: ${member} is no JSON value`);
    }
    return typeof member === "bigint" ? JSON.rawJSON?.(member.toString()) ?? bigIntsMissing(pointer) : member;
  });
  if (text === undefined) {
    throw new TypeError(`${pointer}: a ${typeof value} is no JSON value`);
  }
  return text;
}

function bigIntsMissing(pointer) {
  throw new TypeError(`${pointer}: a BigInt inside an object or array cannot be written: set it by its own pointer`);
}
