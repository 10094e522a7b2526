// How the gateway calls a plugin: build.mjs makes the entry that joins the two.
import { Document, dropDocuments } from "./document.js";
import { Rejected, describe } from "./failures.js";
import { seed } from "./globals.js";
import { log } from "./host.js";
import { toJson } from "./values.js";

/** The component's exports. */
export function run(plugin) {
  if (typeof plugin?.transform !== "function") {
    throw new TypeError("the plugin's default export is made by definePlugin({ transform(event) { … } })");
  }
  let configured;
  return {
    configure(config) {
      seed("");
      try {
        const parsed = JSON.parse(config);
        configured = { state: plugin.configure === undefined ? parsed : settled(plugin.configure(parsed), "configure") };
      } catch (error) {
        // An Error thrown through the boundary would be a trap without its text.
        throw error instanceof Error ? error.message : describe(error);
      } finally {
        dropDocuments();
      }
    },
    transform(raw) {
      seed(raw.id);
      try {
        const event = {
          id: raw.id,
          source: raw.source,
          type: raw.type,
          subject: raw.subject ?? undefined,
          time: raw.time,
          appVersion: raw.appVersion ?? undefined,
          partner: raw.partner,
          schema: raw.schema,
          data: new Document(raw.data),
        };
        const outputs = settled(plugin.transform(event, configured.state), "transform");
        return list(outputs).map(output);
      } catch (error) {
        throw failure(error);
      } finally {
        dropDocuments();
      }
    },
  };
}

function settled(value, name) {
  if (typeof value?.then === "function") {
    throw new TypeError(`\`${name}\` is async: a plugin waits for nothing, so let it be a plain function`);
  }
  return value;
}

function failure(error) {
  if (error instanceof Rejected) {
    return { tag: "rejected", val: error.message };
  }
  const words = describe(error);
  log("error", error?.stack ? `${words}\n${String(error.stack).trimEnd()}` : words);
  return { tag: "broken", val: words };
}

function list(outputs) {
  if (outputs === undefined || outputs === null) {
    throw new TypeError("`transform` gave nothing: return [] to drop the event on purpose");
  }
  return Array.isArray(outputs) ? outputs : [outputs];
}

function output(given) {
  const whole = given instanceof Document ? { data: given } : given;
  const { data, body, destination, topic, key, headers } = whole;
  if ((data === undefined) === (body === undefined)) {
    throw new TypeError("a record has `data` (JSON) or `body` (a string or bytes), and one of them");
  }
  return {
    destination: optionalText("destination", destination),
    topic: optionalText("topic", topic),
    key: optionalText("key", key),
    headers: pairs(headers ?? []),
    body: data === undefined ? bytes(body) : document(data),
  };
}

function document(data) {
  const made = data instanceof Document ? data : Document.fromJson(toJson("data", data));
  return { tag: "document", val: made.release() };
}

function bytes(body) {
  if (body instanceof Uint8Array) {
    return { tag: "bytes", val: body };
  }
  if (typeof body !== "string") {
    throw new TypeError("`body` is a string or a Uint8Array");
  }
  return { tag: "bytes", val: utf8(body) };
}

/** A lone surrogate becomes U+FFFD, as everywhere. */
function utf8(text) {
  const bytes = [];
  for (const character of text) {
    const code = character.codePointAt(0);
    const point = code >= 0xd800 && code <= 0xdfff ? 0xfffd : code;
    if (point < 0x80) {
      bytes.push(point);
    } else if (point < 0x800) {
      bytes.push(0xc0 | (point >> 6), 0x80 | (point & 0x3f));
    } else if (point < 0x10000) {
      bytes.push(0xe0 | (point >> 12), 0x80 | ((point >> 6) & 0x3f), 0x80 | (point & 0x3f));
    } else {
      bytes.push(
        0xf0 | (point >> 18),
        0x80 | ((point >> 12) & 0x3f),
        0x80 | ((point >> 6) & 0x3f),
        0x80 | (point & 0x3f),
      );
    }
  }
  return new Uint8Array(bytes);
}

function optionalText(name, value) {
  if (value === undefined || value === null) {
    return null;
  }
  if (typeof value !== "string") {
    throw new TypeError(`a record's ${name} is text`);
  }
  return value;
}

/** An object, or pairs where a name comes more than once. */
function pairs(headers) {
  const entries = Array.isArray(headers) ? headers : Object.entries(headers);
  return entries.map(([name, value]) => [String(name), String(value)]);
}
