// Modules of the console in node, as the bundler reads them.

import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { createServer } from "vite";

export async function modules() {
  const root = join(dirname(fileURLToPath(import.meta.url)), "..");
  const server = await createServer({ root, logLevel: "error", server: { middlewareMode: true, hmr: false, ws: false, watch: null }, appType: "custom", optimizeDeps: { noDiscovery: true } });
  return { load: (path) => server.ssrLoadModule(path), close: () => server.close() };
}
