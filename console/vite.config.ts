import { defineConfig } from "vite";

// What a person's browser gets is built here, whole: no code and no font comes from anywhere else.
export default defineConfig({
  build: {
    outDir: "dist/site",
    emptyOutDir: true,
    manifest: "manifest.json",
    target: ["chrome123", "firefox120", "safari17.5"],
    modulePreload: { polyfill: false },
    // Styles and fonts are files: the policy that the controller sends allows no `data:`.
    assetsInlineLimit: 0,
    reportCompressedSize: false,
    rolldownOptions: {
      onLog(level, log, handle) {
        // `"use client"` is meant for servers that render; there is none.
        if (log.code !== "MODULE_LEVEL_DIRECTIVE") handle(level, log);
      },
    },
  },
  // `npm run dev` beside a controller on this machine.
  server: { proxy: { "/v1": { target: "https://127.0.0.1:8443", secure: false } } },
});
