/** Any JSON value. */
export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

/** What can be written as JSON: a `bigint` is written as an integer. */
export type Writable = Json | bigint | readonly Writable[] | { readonly [name: string]: Writable | undefined };

/**
 * A JSON document that the gateway has parsed. Paths are JSON Pointers (RFC 6901): `/items/0/price`; `""` is the whole
 * document. Changes are gathered and made together when the document is read next or given away. What is not touched
 * keeps its bytes.
 *
 * Where a change cannot be made, none of those gathered with it is, and from then on every use of the document throws
 * the same Error: it cannot be read, copied or given away.
 */
export class Document {
  private constructor();
  /** A new document from JSON text. Throws a SyntaxError where the text is none. */
  static fromJson(text: string): Document;
  /** A new document from a value. */
  static from(value: Writable): Document;
  /**
   * The value at a pointer; undefined where nothing is there. An integer beyond 2^53 throws a DataError, which rejects
   * the event: read it with getBigInt.
   */
  get(pointer: string): Json | undefined;
  /** Many values in one call of the gateway. */
  getMany(pointers: readonly string[]): (Json | undefined)[];
  /** An integer of any size, exactly. */
  getBigInt(pointer: string): bigint;
  /**
   * Many values, each of a kind, in one call of the gateway. A field without a pointer is the member of its name. What
   * is missing or of another kind throws a DataError, which rejects the event.
   *
   * @example const { price, quantity } = event.data.read({ price: number(), quantity: integer().or(1) });
   */
  read<Fields extends Record<string, Field<unknown>>>(fields: Fields): Values<Fields>;
  /** Sets a value; missing parents are made, and `-` as the last token appends to an array. */
  set(pointer: string, value: Writable): this;
  /** Removes a value, where one is there. */
  remove(pointer: string): this;
  /** Moves a value, where one is there. */
  rename(from: string, to: string): this;
  /** A copy that is changed apart from this one. */
  copy(): Document;
  /** The document as JSON text. */
  toJson(): string;
}

/** One event, checked by the gateway against the schema of its type and app version. */
export interface Event {
  readonly id: string;
  readonly source: string;
  readonly type: string;
  readonly subject: string | undefined;
  /** RFC 3339. A plugin's only clock. */
  readonly time: string;
  /** The version of the app that sent the event, as sent. */
  readonly appVersion: string | undefined;
  readonly partner: string;
  /** `TYPE@SINCE` of the schema that the data was checked against. */
  readonly schema: string;
  readonly data: Document;
}

interface RecordOptions {
  /** The name of one of the route's destinations; absent: all of them. */
  destination?: string | undefined;
  /** A Kafka topic or a Kinesis stream. */
  topic?: string | undefined;
  /** Records with the same key keep their order. */
  key?: string | undefined;
  /** An object, or pairs where a name comes more than once. */
  headers?: Record<string, string> | readonly (readonly [string, string])[] | undefined;
}

/** One record to deliver; what is absent is taken from the route. A document alone is a record of it. */
export type Output =
  | Document
  | (RecordOptions & { data: Document | Writable; body?: undefined })
  | (RecordOptions & { body: string | Uint8Array; data?: undefined });

export interface Plugin<State> {
  /**
   * Called once for each instance, with the route's configuration. What it returns is given to each `transform`. An
   * Error that it throws refuses the configuration; its text is shown to whoever registers the route.
   */
  configure?(config: unknown): State;
  /**
   * Makes records of an event. `[]` drops it on purpose. `reject("why")` puts it into quarantine; any other exception
   * says that the plugin is at fault.
   */
  transform(event: Event, state: State): Output | readonly Output[];
}

/** A plugin, for `export default`. */
export function definePlugin<State = unknown>(plugin: Plugin<State>): Plugin<State>;

/** A value of a kind. */
export interface Field<Value> {
  /** What to take where nothing, or null, is there. */
  or<Fallback>(fallback: Fallback): Field<Value | Fallback>;
  /** Never there: carries the type. */
  readonly __value?: Value;
}

export type Values<Fields extends Record<string, Field<unknown>>> = {
  [Name in keyof Fields]: Fields[Name] extends Field<infer Value> ? Value : never;
};

export function text(pointer?: string): Field<string>;
export function number(pointer?: string): Field<number>;
/** Between -(2^53 - 1) and 2^53 - 1. */
export function integer(pointer?: string): Field<number>;
export function boolean(pointer?: string): Field<boolean>;
export function json(pointer?: string): Field<Json>;

/** Reads a route's configuration, member by member; an unknown, missing or mistyped member throws. */
export function readConfig<Fields extends Record<string, Field<unknown>>>(
  config: unknown,
  fields: Fields,
): Values<Fields>;

/** The event cannot be transformed: it goes to quarantine with this text. */
export class Rejected extends Error {}

/** What stands at a pointer is not what was asked for. Rejects the event. */
export class DataError extends Rejected {
  readonly pointer: string;
}

/** Throws a Rejected. */
export function reject(reason: string): never;

export type Level = "debug" | "info" | "warn" | "error";

/**
 * The row of a table under a key, as a document that is read, changed and given away like the event's data; undefined
 * where there is no such row. Only in `transform`. Where the gateway has no such table at all, the call ends here: the
 * event waits in quarantine until the table is there.
 */
export function lookup(table: string, key: string | number | bigint): Document | undefined;

/** Writes a line to the gateway's log, as `console.log` does. Never write personal data or secrets. */
export function log(level: Level, message: unknown): void;

/** Adds to a counter that the gateway exports under the plugin's name: `a-z 0-9 _`, at most 64 characters. */
export function count(counter: string, amount?: number): void;

declare global {
  /** Writes to the gateway's log. */
  var console: Record<"debug" | "error" | "info" | "log" | "trace" | "warn", (...values: unknown[]) => void>;
}
