// Makes a component of a plugin: node build.mjs ENTRY WIT OUTPUT. The errors that it prints are for the plugin's author.
import { writeFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const sdk = dirname(fileURLToPath(import.meta.url));
const [entry, wit, output] = process.argv.slice(2).map((path) => resolve(path));

/** One of the SDK's own packages; exit status 3 says that it is not installed. */
async function tool(name) {
  try {
    return await import(name);
  } catch (error) {
    if (error.code === "ERR_MODULE_NOT_FOUND") {
      console.error(`${name} is not installed`);
      process.exit(3);
    }
    throw error;
  }
}

const esbuild = await tool("esbuild");
const { componentize } = await tool("componentize-qjs");

const joined = [
  `import "./lib/globals.js";`,
  `import { run } from "./lib/run.js";`,
  `import plugin from ${JSON.stringify(entry)};`,
  `export const { configure, transform } = run(plugin);`,
].join("\n");

let source;
try {
  const bundled = await esbuild.build({
    stdin: { contents: joined, resolveDir: sdk, sourcefile: "entry.js" },
    bundle: true,
    format: "esm",
    platform: "neutral",
    mainFields: ["module", "main"],
    conditions: ["import", "default"],
    target: "es2023",
    external: ["headworks:plugin/*"],
    alias: { "headworks-plugin": `${sdk}/index.js` },
    absWorkingDir: dirname(entry),
    write: false,
    logLevel: "error",
  });
  source = bundled.outputFiles[0].text;
} catch {
  // esbuild has said why, with file and line.
  process.exit(1);
}

try {
  const { component } = await componentize({
    witPath: wit,
    jsSource: source,
    world: "plugin",
    stubWasi: true,
    sync: true,
  });
  await writeFile(output, component);
} catch (error) {
  console.error(`the plugin's top level fails while it is built: ${error.message ?? error}`);
  process.exit(1);
}
