// After the build: compresses what a browser fetches, writes the licences of what is in it, and holds the first load to its budget.
// The same sources make the same bytes.

import { readFileSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";

/** Bytes of the first load, gzip, font included. */
const FIRST_LOAD_MAX = 180_000;
/** What a dependency that ships may be licensed under. */
const LICENCES = ["MIT", "ISC", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "0BSD", "OFL-1.1"];

const here = join(dirname(fileURLToPath(import.meta.url)), "..");
const site = join(here, "dist/site");

const files = readdirSync(site, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile())
  .map((entry) => join(entry.parentPath, entry.name).slice(site.length + 1))
  .sort();
const packed = (bytes) => gzipSync(bytes, { level: 9 });

const manifest = JSON.parse(readFileSync(join(site, "manifest.json"), "utf8"));
rmSync(join(site, "manifest.json"));

// What the page asks for before it shows anything: its entry, what that imports, styles, and the font of Latin text.
const first = new Set(["index.html"]);
const follow = (key) => {
  const chunk = manifest[key];
  if (first.has(chunk.file)) return;
  first.add(chunk.file);
  for (const css of chunk.css ?? []) first.add(css);
  for (const next of chunk.imports ?? []) follow(next);
};
follow("index.html");
for (const file of files) if (/inter-latin-wght-normal.*\.woff2$/.test(file)) first.add(file);

let total = 0;
for (const file of files) {
  if (file === "manifest.json") continue;
  const bytes = readFileSync(join(site, file));
  const text = /\.(html|js|css|svg|txt)$/.test(file);
  const gzip = packed(bytes);
  if (text && bytes.length > 512) {
    const quality = { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length };
    writeFileSync(join(site, `${file}.gz`), gzip);
    writeFileSync(join(site, `${file}.br`), brotliCompressSync(bytes, { params: quality }));
  }
  const counts = first.has(file);
  const size = text ? gzip.length : bytes.length;
  if (counts) total += size;
  console.log(`${counts ? "first" : "later"}  ${String(size).padStart(7)}  ${file}`);
}
console.log(`first load: ${total} bytes gzip of ${FIRST_LOAD_MAX}`);

licences();

if (total > FIRST_LOAD_MAX) {
  console.error("The first load is over its budget: load a screen when it is shown, or leave a dependency out.");
  process.exit(1);
}

function licences() {
  const lock = JSON.parse(readFileSync(join(here, "package-lock.json"), "utf8"));
  const parts = [];
  for (const [path, about] of Object.entries(lock.packages)) {
    if (about.resolved) fail(`package-lock.json says where somebody fetched ${path}: leave \`resolved\` out (.npmrc)`);
    if (path === "" || about.dev) continue;
    if (!LICENCES.includes(about.license)) fail(`${path} is licensed under ${about.license}, which ships with nothing of ours`);
    const folder = join(here, path);
    const name = readdirSync(folder).find((file) => /^licen[cs]e(\.|$)/i.test(file) && statSync(join(folder, file)).isFile());
    const text = name ? readFileSync(join(folder, name), "utf8").trim() : about.license;
    parts.push(`${path.replace("node_modules/", "")} ${about.version}\n\n${text}\n`);
  }
  const rule = `\n${"-".repeat(72)}\n\n`;
  writeFileSync(join(site, "licences.txt"), `What the console contains of others.\n${rule}${parts.join(rule)}`);
}

function fail(why) {
  console.error(why);
  process.exit(1);
}
