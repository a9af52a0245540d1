// A real browser on a real controller, and what holds for every screen: no message of the browser's that is not expected, nobody else
// asked, nothing that axe finds, a picture in light and in dark.

import assert from "node:assert/strict";
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { PASSWORD } from "./estate.mjs";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const repository = join(dirname(fileURLToPath(import.meta.url)), "../..");
const pictures = join(process.env.CARGO_TARGET_DIR ?? join(repository, "target"), "console");
mkdirSync(pictures, { recursive: true });

/** Debian's browser, without a card to draw with; root has no sandbox for it. */
export function launch() {
  const root = process.getuid?.() === 0 ? ["--no-sandbox"] : [];
  return chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: [...root, "--disable-gpu", "--disable-dev-shm-usage"] });
}

/** A tab of its own, with nothing kept. `expected`: statuses of answers that the browser is meant to complain of. */
export async function open(browser, base, { path = "/", width = 1440, height = 900, expected = [] } = {}) {
  const context = await browser.newContext({ ignoreHTTPSErrors: true, viewport: { width, height }, colorScheme: "light", reducedMotion: "reduce" });
  const page = await context.newPage();
  page.setDefaultTimeout(15_000);
  const wrong = [];
  page.on("console", (message) => {
    const text = message.text();
    const status = text.match(/^Failed to load resource: .* status of (\d+)/)?.[1];
    const meant = status ? expected.includes(Number(status)) : expected.includes("lost") && /^Failed to load resource: net::|ERR_/.test(text);
    if (["error", "warning"].includes(message.type()) && !meant) wrong.push(`${message.type()}: ${text}`);
  });
  page.on("pageerror", (error) => wrong.push(`uncaught: ${error.message}`));
  page.on("request", (request) => {
    if (!request.url().startsWith(`${base}/`)) wrong.push(`asked somebody else: ${request.url()}`);
  });
  page.on("dialog", (dialog) => {
    wrong.push(`a dialog: ${dialog.message()}`);
    void dialog.dismiss();
  });
  await page.goto(base + path);
  return new Tab(context, page, wrong);
}

export class Tab {
  constructor(context, page, wrong) {
    Object.assign(this, { context, page, wrong });
  }

  /** With keys alone. */
  async type(...keys) {
    for (const key of keys) {
      if (key.startsWith("=")) await this.page.keyboard.type(key.slice(1));
      else await this.page.keyboard.press(key);
    }
  }

  async signIn(login = "anna", password = PASSWORD) {
    await this.page.getByLabel("Login").waitFor();
    await this.page.getByLabel("Login").fill("");
    await this.page.getByLabel("Login").focus();
    await this.type(`=${login}`, "Tab", `=${password}`, "Enter");
  }

  /** Types a selector and waits for what it selects. */
  async select(l) {
    await this.type("/", "Tab", "Control+a", `=${l}`, "Enter");
    await this.asked("l", l);
  }

  /** Types words and waits for what has them. */
  async words(q) {
    await this.type("/", "Control+a", `=${q}`, "Enter");
    await this.asked("q", q);
  }

  async asked(name, value) {
    await this.until("it is asked for", () => new URL(this.page.url()).searchParams.get(name) === value);
    await this.until("it is answered", async () => (await this.page.locator(".tally").first().textContent()) !== "…" || (await this.page.getByRole("alert").count()) > 0);
  }

  see(text) {
    return this.page.getByText(text).first().waitFor({ timeout: 15_000 });
  }

  /** Waits until something holds; screens follow the controller, and nobody knows how quickly. */
  async until(what, holds) {
    const end = Date.now() + 15_000;
    for (;;) {
      if (await holds()) return;
      if (Date.now() > end) assert.fail(`it does not come to be that ${what}`);
      await this.page.waitForTimeout(50);
    }
  }

  /** Judges the screen as it is, and takes its pictures. */
  async judge(name) {
    for (const scheme of ["light", "dark"]) {
      await this.page.emulateMedia({ colorScheme: scheme, reducedMotion: "reduce" });
      await this.page.screenshot({ path: join(pictures, `${name}-${scheme}.png`) });
      const found = await this.page.evaluate(async ({ source }) => {
        // As the developer tools do: the page's own policy lets nothing in.
        if (!("axe" in window)) (0, eval)(source);
        const { violations } = await window.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] });
        return violations.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.slice(0, 3).map((node) => node.target.join(" ")).join(" | ")}`);
      }, { source: axe });
      assert.deepEqual(found, [], `${name} (${scheme})`);
    }
    await this.page.emulateMedia({ colorScheme: "light", reducedMotion: "reduce" });
    assert.deepEqual(this.wrong, [], name);
  }

  async close() {
    assert.deepEqual(this.wrong, []);
    await this.context.close();
  }
}
