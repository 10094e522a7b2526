import { lookup as find } from "headworks:plugin/tables@0.2.0";
import { Document } from "./document.js";

/** The row of a table under a key. */
export function lookup(table, key) {
  const row = find(String(table), String(key));
  return row === undefined || row === null ? undefined : new Document(row);
}
