// What every SDK must do alike, in TypeScript: each sample of ../../cases names what is to be done.
import {
  Document,
  count,
  definePlugin,
  integer,
  json,
  log,
  lookup,
  number,
  readConfig,
  reject,
  text,
  type Event,
  type Json,
  type Output,
} from "headworks-plugin";

type Action = (event: Event, greeting: string) => Output | Output[];

const actions: Record<string, Action> = {
  edits({ data }) {
    const { price } = data.read({ price: number(), note: text() });
    data
      .rename("/order_no", "/order/id")
      .set("/order/total", price * 2.5)
      .set("/order/gift", false)
      .set("/order/tags", ["a", "b"])
      .set("/order/nothing", null)
      .remove("/note")
      .remove("/was/never/there")
      .rename("/nor/was/this", "/here")
      .set("/items/-", 3);
    return data;
  },
  "untouched-bytes": ({ data }) => ({ body: data.set("/added", 1).toJson() }),
  attributes(event) {
    const { id, source, type, subject, time, appVersion, partner, schema } = event;
    return event.data.set("/seen", [id, source, type, subject ?? "", time, appVersion ?? "", partner, schema]);
  },
  "output-fields": ({ data }) => [
    {
      body: "plain, not JSON: 한 🙂",
      destination: "files",
      topic: "orders",
      key: "A-1",
      headers: [
        ["one", "1"],
        ["one", "2"],
      ],
    },
    data,
  ],
  drop: () => [],
  reject: () => reject("not this one"),
  missing({ data }) {
    data.read({ price: number() });
    return [];
  },
  split({ data }) {
    const items = data.get("/items") as { sku: string; n: number }[];
    return items.map(({ sku, n }, index) => ({
      topic: "items",
      key: sku,
      data: { sku, n, index, of: items.length },
    }));
  },
  copy({ data }) {
    const copy = data.copy().set("/n", 2);
    return [copy, data.set("/original", true)];
  },
  lookup({ data }) {
    const row = lookup("shops", "1")!.set("/seen", true);
    data.set("/absent", lookup("shops", "none") === undefined).set("/other", lookup("shops", 2)!.get("/name")!);
    return [row, data];
  },
  pointers({ data }) {
    const { empty, second } = data.read({ empty: text("/"), second: text("/list/1") });
    return data
      .rename("/a~1b/c~0d", "/moved")
      .remove("/")
      .remove("/list/1")
      .set("/empty", empty)
      .set("/second", second);
  },
  "null-and-missing"({ data }) {
    const name = (value: Json | undefined) => (value === undefined ? "missing" : value === null ? "null" : "a value");
    return data.set("/found", data.getMany(["/empty", "/absent"]).map(name));
  },
  "large-numbers"({ data }) {
    const found = ["/beyond_double", "/most", "/unsigned"].map((pointer) => data.getBigInt(pointer));
    data.set("/again", []);
    for (const value of found) {
      data.set("/again/-", value);
    }
    return { body: data.toJson() };
  },
  "new-document"() {
    const made = Document.from({ made: [1, "two", null, { three: 3.5 }] });
    let malformed = false;
    try {
      Document.fromJson("{");
    } catch (error) {
      malformed = error instanceof SyntaxError;
    }
    return made.set("/malformed", malformed);
  },
  "many-documents"() {
    const made = Array.from({ length: 500 }, (_, n) => Document.from({ n }));
    return made.at(-1)!;
  },
  "given-away"(event) {
    const kept: Document[] = (globalThis as { kept?: Document[] }).kept ?? [];
    let refused = true;
    for (const document of kept) {
      try {
        document.get("/do");
        refused = false;
      } catch {
        // As it must be.
      }
    }
    (globalThis as { kept?: Document[] }).kept = [event.data];
    return event.data.set("/refused", refused);
  },
  configured: ({ data }, greeting) => data.set("/greeting", greeting),
  log() {
    log("info", "a line");
    console.log("two", { three: [4] }, 5n);
    count("lines", 2);
    return [];
  },
  throw() {
    throw new RangeError("out of order");
  },
  "throw-text"() {
    throw "out of order";
  },
  mistyped({ data }) {
    data.read({ price: number() });
    return [];
  },
  "edit-refused": ({ data }) => data.set("/price/of/text", 1),
  "edit-refused-again"({ data }) {
    const isRefused = (use: () => unknown) => {
      try {
        use();
        return false;
      } catch {
        return true;
      }
    };
    data.set("/price/of/text", 1);
    const refused = [isRefused(() => data.toJson())];
    data.set("/n", 2);
    const uses = [() => data.get("/price"), () => data.getMany(["/price", "/n"]), () => data.copy(), () => data.toJson()];
    return Document.from({ refused: [...refused, ...uses.map(isRefused)] });
  },
  "edit-refused-caught"({ data }) {
    data.set("/price/of/text", 1);
    try {
      data.toJson();
    } catch {
      // Goes on as if nothing were.
    }
    return data.set("/n", 2);
  },
  "rounded-integer": ({ data }) => data.set("/again", data.get("/beyond_double")!),
  "rounded-in-list": ({ data }) => data.set("/again", data.get("/list")!),
  "small-integers": ({ data }) => {
    const { list, at } = data.read({ list: json(), at: integer() });
    return data.set("/again", [at, list]);
  },
  clock: ({ data }) => data.set("/now", Date.now()),
  "clock-by-date": ({ data }) => data.set("/now", new Date().toISOString()),
  dates: ({ data, time }) =>
    data.set("/utc", new Date(time).toISOString()).set("/is", new Date(0) instanceof Date && Date.UTC(2026, 0) > 0),
  random: ({ data }) => data.set("/drawn", [Math.floor(Math.random() * 1e6), Math.floor(Math.random() * 1e6)]),
  timer: ({ data }) => {
    // @ts-expect-error: there is none, and types say so.
    setTimeout(() => data, 1);
    return [];
  },
  async: (async () => []) as unknown as Action,
  nothing: (() => undefined) as unknown as Action,
  "not-finite": ({ data }) => data.set("/again", Number.NaN),
  recursion: ({ data }) => {
    const deeper = (n: number): number => 1 + deeper(n + 1);
    return data.set("/deep", deeper(0));
  },
};

export default definePlugin({
  configure(config) {
    const { greeting } = readConfig(config, { greeting: text() });
    if (greeting === "") {
      throw new Error("greeting is empty");
    }
    return greeting;
  },
  transform(event, greeting) {
    const { what } = event.data.read({ what: text("/do") });
    const action = actions[what];
    if (action === undefined) {
      throw new Error(`nobody knows ${what}`);
    }
    return action(event, greeting);
  },
});
