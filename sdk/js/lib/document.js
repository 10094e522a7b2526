import { Document as Handle } from "headworks:plugin/types@0.2.0";
import { DataError } from "./failures.js";
import { check } from "./fields.js";
import { fromHost, toHost, toJson } from "./values.js";

/** The documents of the running call. */
const live = new Set();

export class Document {
  #handle;
  #edits = [];
  /** Why earlier changes could not be made. It stays: without them the document is not what the plugin takes it for. */
  #refused;

  /** For the SDK alone: see Document.from and Document.fromJson. */
  constructor(handle) {
    this.#handle = handle;
    live.add(this);
  }

  static fromJson(text) {
    let handle;
    try {
      handle = Handle.fromJson(text);
    } catch (error) {
      throw new SyntaxError(words(error));
    }
    return new Document(handle);
  }

  static from(value) {
    return Document.fromJson(toJson("", value));
  }

  get(pointer) {
    return fromHost(pointer, this.#flushed().get(pointer));
  }

  getMany(pointers) {
    const values = this.#flushed().getAll(pointers);
    return values.map((value, index) => fromHost(pointers[index], value));
  }

  getBigInt(pointer) {
    const value = this.#flushed().get(pointer);
    if (value?.tag === "integer" && Number.isSafeInteger(value.val)) {
      return BigInt(value.val);
    }
    if (value?.tag === "integer" || value?.tag === "json") {
      const text = value.tag === "json" ? value.val : this.#textAt(pointer);
      if (/^-?\d+$/.test(text)) {
        return BigInt(text);
      }
    }
    throw new DataError(pointer, value === undefined || value === null ? "nothing is there" : "is no integer");
  }

  read(fields) {
    const names = Object.keys(fields);
    const pointers = names.map((name) => fields[name].pointer ?? `/${name.replaceAll("~", "~0").replaceAll("/", "~1")}`);
    const values = this.getMany(pointers);
    return Object.fromEntries(
      names.map((name, index) => [name, check(fields[name], pointers[index], values[index])]),
    );
  }

  set(pointer, value) {
    this.#edits.push({ tag: "set", val: [pointer, toHost(pointer, value)] });
    return this;
  }

  remove(pointer) {
    this.#edits.push({ tag: "remove", val: pointer });
    return this;
  }

  rename(from, to) {
    this.#edits.push({ tag: "move", val: [from, to] });
    return this;
  }

  copy() {
    return new Document(this.#flushed().copy());
  }

  toJson() {
    return this.#flushed().toJson();
  }

  /** For the SDK alone: the handle, with all changes made; the document is then no longer this call's to drop. */
  release() {
    const handle = this.#flushed();
    live.delete(this);
    this.#handle = undefined;
    return handle;
  }

  /** For the SDK alone. */
  drop() {
    this.#handle?.[Symbol.dispose]?.();
    this.#handle = undefined;
  }

  /** The text of one value as it was sent: a copy becomes that value. */
  #textAt(pointer) {
    const copy = this.#flushed().copy();
    try {
      copy.move(pointer, "");
      return copy.toJson().trim();
    } finally {
      copy[Symbol.dispose]();
    }
  }

  #flushed() {
    if (this.#handle === undefined) {
      throw new Error("the document was given away, or belongs to an earlier event");
    }
    const edits = this.#edits;
    if (this.#refused === undefined && edits.length > 0) {
      this.#edits = [];
      try {
        this.#handle.apply(edits);
      } catch (error) {
        this.#refused = words(error);
      }
    }
    if (this.#refused !== undefined) {
      throw new Error(this.#refused);
    }
    return this.#handle;
  }
}

/** Drops what a call left: handles are not the garbage collector's to free. */
export function dropDocuments() {
  for (const document of live) {
    document.drop();
  }
  live.clear();
}

/** What the gateway said. */
function words(error) {
  return typeof error === "string" ? error : String(error?.payload ?? error?.message ?? error);
}
