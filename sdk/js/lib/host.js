import * as host from "headworks:plugin/host@0.2.0";

/** Writes a line to the gateway's log. */
export function log(level, message) {
  host.log(level, String(message));
}

/** Adds to a counter that the gateway exports under the plugin's name. */
export function count(counter, amount = 1) {
  if (!Number.isSafeInteger(amount) || amount < 0) {
    throw new RangeError(`a counter grows by a whole number, not by ${amount}`);
  }
  host.count(String(counter), amount);
}
