// What a plugin imports. How the gateway calls it stands in lib/run.js.

export { boolean, integer, json, number, readConfig, text } from "./lib/fields.js";
export { Document } from "./lib/document.js";
export { DataError, Rejected, reject } from "./lib/failures.js";
export { count, log } from "./lib/host.js";
export { lookup } from "./lib/tables.js";

/**
 * Checks the shape of a plugin and gives it back.
 */
export function definePlugin(plugin) {
  if (typeof plugin?.transform !== "function") {
    throw new TypeError("definePlugin takes an object with a function `transform`");
  }
  return plugin;
}
