// The inventory in a real browser: found by words, in any order, kept as views, decided about as it is found, and a million rows long.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch, open } from "./browser.mjs";
import { PASSWORD, start } from "./estate.mjs";

let browser;
let hq;

before(async () => {
  browser = await launch();
  hq = await start();
  await hq.setup();
  await hq.fill(600);
});

after(async () => {
  await browser?.close();
  await hq?.remove();
});

const types = (tab) => tab.page.locator(".grid .row").evaluateAll((rows) => rows.map((row) => row.children[2].textContent));
const head = (tab, name) => tab.page.getByRole("columnheader", { name });
const total = async (query) => (await hq.must("GET", `/v1/devices?limit=1&count=true&${query}`)).total;

async function inventory(path = "/") {
  const tab = await open(browser, hq.base, { path, expected: [400, 412, 422] });
  await tab.signIn();
  await tab.page.getByRole("grid").waitFor();
  return tab;
}

test("words find devices, and what they find is decided about", async () => {
  const tab = await inventory();
  await tab.words("senso");
  const found = await total("q=senso");
  assert.ok(found > 50 && found < 200, `${found}`);
  await tab.see(`${found} devices`);
  await tab.judge("inventory-words");
  await tab.page.getByRole("button", { name: "Set owner of all of these…" }).focus();
  await tab.type("Enter");
  await tab.page.getByRole("heading", { name: `Set the owner of ${found} devices` }).waitFor();
  await tab.see("All that the words senso find when it is done.");
  await tab.type("ArrowDown", "Tab", "=ticket 18", "Tab");
  await tab.judge("owner-of-words");
  await tab.type("Tab", "Enter");
  await tab.see(`Done: ${found} of ${found} changed`);
  const { items } = await hq.must("GET", "/v1/devices?limit=1000&q=senso");
  assert.ok(items.every(({ owner }) => owner?.decided));
  assert.equal(await total("q=floor"), found, "and nobody else has that owner");
  await tab.type("Escape", "/", "Escape");
  await tab.until("all are shown", async () => (await tab.page.locator(".tally").first().textContent()) === `${(await total("")).toLocaleString("en")} devices`);
  await tab.close();
});

test("any order by keyboard: rising, falling, and not", async () => {
  const tab = await inventory();
  await tab.page.getByRole("grid").focus();
  await tab.type("ArrowUp", "ArrowRight", "Enter");
  await tab.until("it is asked for", () => tab.page.url().endsWith("/devices?sort=type"));
  await tab.until("it is so", async () => (await types(tab)).slice(0, 20).every((type) => type === "barcode-scanner"));
  assert.equal(await head(tab, "Type").getAttribute("aria-sort"), "ascending");
  await tab.judge("inventory-ordered");
  await tab.page.getByRole("grid").focus();
  await tab.type("ArrowUp", "ArrowRight", "Enter");
  await tab.until("it is falling", async () => (await types(tab)).slice(0, 20).every((type) => type.startsWith("temperature-sensor")));
  assert.equal(await head(tab, "Type").getAttribute("aria-sort"), "descending");
  await head(tab, "Type").click();
  await tab.until("it is by id again", () => tab.page.url().endsWith("/devices"));
  // An order stays when something is found in it.
  await tab.page.goto(`${hq.base}/devices?sort=-last_seen`);
  await tab.page.getByRole("grid").waitFor();
  await tab.select("type=plc");
  assert.ok(tab.page.url().includes("sort=-last_seen"));
  await tab.close();
});

test("an expression, and one that is none", async () => {
  const tab = await inventory(`/devices?where=${encodeURIComponent('device.type == "plc" && device.site == "w2"')}`);
  const found = await total(`where=${encodeURIComponent('device.type == "plc" && device.site == "w2"')}`);
  await tab.see(`${found} devices`);
  assert.ok((await types(tab)).filter((type) => type !== undefined).every((type) => type === "plc"));
  await tab.page.locator('input[aria-label="Expression"]').focus();
  await tab.type("Control+a", "=device.color ==", "Enter");
  await tab.page.getByRole("alert").waitFor();
  await tab.judge("inventory-expression-refused");
  await tab.page.getByRole("button", { name: "Show all" }).focus();
  await tab.type("Enter");
  await tab.page.locator(".grid .row a").first().waitFor();
  await tab.close();
});

test("a view is kept, opened by somebody else, changed in between, and taken away", async () => {
  const tab = await inventory("/devices?l=type%3Dplc&sort=-last_seen&columns=name,firmware,mac,label.rack");
  await tab.page.getByRole("columnheader", { name: "rack" }).waitFor();
  const menu = async (item) => {
    await tab.page.getByRole("button", { name: "Views" }).focus();
    await tab.type("Enter");
    await tab.page.getByRole("button", { name: item }).focus();
    await tab.type("Enter");
  };
  await menu("Keep this list as a view…");
  await tab.type("=Old PLCs", "Tab", "=ticket 19", "Enter");
  await tab.see("a name is 1 to 63");
  await tab.judge("view-refused");
  await tab.page.getByLabel("Name", { exact: true }).focus();
  await tab.type("Control+a", "=old-plcs", "Enter");
  await tab.see("view old-plcs");
  await tab.judge("view-open");
  assert.deepEqual(await hq.must("GET", "/v1/views/old-plcs").then(({ l, sort, columns }) => ({ l, sort, columns })), { l: "type=plc", sort: "-last_seen", columns: ["name", "firmware", "mac", "label.rack"] });

  await tab.words("w1");
  await tab.see("view old-plcs, changed");
  await menu("Keep this list as a view…");
  await tab.see("There is one with this name: it becomes this list.");
  await hq.must("PUT", "/v1/views/old-plcs", { l: "type=plc,!owner", why: "in between" });
  await tab.type("Tab", "=ticket 20", "Enter");
  await tab.see("It has changed since it was read");
  await tab.judge("view-changed-meanwhile");
  await tab.page.getByRole("button", { name: "Take the place of the new one" }).focus();
  await tab.type("Enter");
  await tab.page.getByRole("button", { name: "Change view old-plcs" }).focus();
  await tab.type("Enter");
  await tab.until("it is kept", async () => (await hq.must("GET", "/v1/views/old-plcs")).q === "w1");

  await tab.page.goto(`${hq.base}/devices`);
  await tab.page.getByRole("grid").waitFor();
  await menu("old-plcs");
  await tab.until("it is open", () => tab.page.url().includes("view=old-plcs"));
  await menu("Take view old-plcs away…");
  await tab.type("=ticket 21");
  await tab.judge("view-away");
  await tab.type("Enter");
  await tab.until("it is gone", async () => (await hq.must("GET", "/v1/views")).items.length === 0);
  await tab.close();
});

test("whoever only looks is offered nothing else", async () => {
  await hq.must("POST", "/v1/operators", { login: "vera", name: "Vera", roles: ["viewer"], password: `${PASSWORD} 0`, why: "tests" });
  const { token } = await hq.must("POST", "/v1/login", { login: "vera", password: `${PASSWORD} 0` }, { token: "" });
  await hq.ask("POST", "/v1/password", { old: `${PASSWORD} 0`, new: PASSWORD }, { token });
  const tab = await open(browser, hq.base, { expected: [403] });
  await tab.signIn("vera");
  await tab.page.getByRole("grid").waitFor();
  await tab.page.getByRole("button", { name: "Views" }).focus();
  await tab.type("Enter");
  await tab.see("Nobody has kept a view yet.");
  for (const name of [/^Set owner/, /^Import/, /^Keep this list/]) assert.equal(await tab.page.getByText(name).count(), 0, `${name}`);
  await tab.judge("inventory-viewer");
  await tab.page.goto(`${hq.base}/import`);
  await tab.see("Lists are taken in by others");
  await tab.judge("import-viewer");
  await tab.page.goto(`${hq.base}/devices/camera`);
  await tab.see("What is known");
  assert.equal(await tab.page.getByRole("button", { name: /Edit…|Quarantine…/ }).count(), 0);
  await tab.close();
});

/** The row that keys are at: its number, its text, and whether it is to be seen. */
const current = (tab) =>
  tab.page.evaluate(() => {
    const row = document.getElementById(document.querySelector(".grid").getAttribute("aria-activedescendant"));
    if (!row) return { number: -1, text: "", seen: false };
    const [box, grid] = [row.getBoundingClientRect(), document.querySelector(".grid").getBoundingClientRect()];
    return { number: Number(row.getAttribute("aria-rowindex")) - 2, text: row.textContent, seen: box.top >= grid.top + 31 && box.bottom <= grid.bottom + 1 };
  });
/** Pulls the bar to a part of its way. */
const pull = (tab, part) =>
  tab.page.evaluate((part) => {
    const box = document.querySelector(".grid");
    box.scrollTop = part * (box.scrollHeight - box.clientHeight);
  }, part);
const first = async (tab) => Number((await tab.page.locator(".where").textContent()).match(/^Rows ([\d,]+)/)[1].replaceAll(",", ""));
const noneBlank = (tab) => tab.until("no row is blank", async () => (await tab.page.locator(".coming").count()) === 0);

test("far rows of a real list, higher than a browser is given: each is the one that the controller has there, and little is loaded for it", async (t) => {
  const DEVICES = 140_000;
  const far = await start();
  t.after(() => far.remove());
  await far.setup();
  await far.bare(DEVICES);
  const tab = await open(browser, far.base);
  let asked = 0;
  await tab.page.route("**/v1/devices?*", (route) => {
    asked += Number(new URL(route.request().url()).searchParams.get("limit"));
    return route.continue();
  });
  await tab.signIn();
  await tab.see("140,000 devices");
  const { height, inner } = await tab.page.evaluate(() => ({ height: document.querySelector(".grid").scrollHeight, inner: document.querySelector(".rows").clientHeight }));
  assert.ok(height <= 4_000_100 && inner > 3_900_000, `${height}`);
  for (const query of ["", "sort=-last_seen", "l=type%3Dplc"]) {
    if (query) await tab.page.goto(`${far.base}/devices?${query}`);
    await tab.page.locator(".grid .row a").first().waitFor();
    await tab.until("they are counted", async () => / of [\d,]+/.test(await tab.page.locator(".where").textContent()));
    const { total } = await far.must("GET", `/v1/devices?limit=1&count=true&${query}`);
    for (const part of [0.5, 0.93, 0.11, 0.37]) {
      asked = 0;
      await pull(tab, part);
      await tab.until("it is there", async () => Math.abs((await first(tab)) / total - part) < 0.01);
      await noneBlank(tab);
      const at = await first(tab);
      const shown = await tab.page.locator(".grid .row").evaluateAll((rows) => rows.map((row) => [Number(row.getAttribute("aria-rowindex")) - 2, row.querySelector("a").getAttribute("href").split("/").at(-1)]));
      const offset = Math.max(0, at - 30);
      const { items } = await far.must("GET", `/v1/devices?limit=120&offset=${offset}&${query}`);
      for (const [number, id] of shown) assert.equal(id, items[number - offset].id, `${query} ${part}: row ${number}`);
      assert.ok(asked < 4_000, `${asked} rows are asked for`);
    }
  }
  // To the very end and back, by keys.
  await tab.page.goto(`${far.base}/devices`);
  await tab.see("140,000 devices");
  await tab.page.getByRole("grid").focus();
  const { items } = await far.must("GET", `/v1/devices?limit=5&offset=${DEVICES - 5}`);
  await tab.type("End");
  await tab.until("the last row is there", async () => (await current(tab)).text.includes(items[4].id));
  assert.deepEqual(((it) => [it.number, it.seen])(await current(tab)), [DEVICES - 1, true]);
  await tab.judge("inventory-far");
  await tab.type("Home");
  await tab.until("the first row is there", async () => (await current(tab)).number === 0 && (await current(tab)).seen);
  await tab.close();
});

test("a million rows, answered slowly: every row is its own, and what is not here says so", async () => {
  const DEVICES = 1_000_000;
  const id = (n) => `dev-${String(n).padStart(7, "0")}`;
  const tab = await inventory();
  let slow = 0;
  await tab.page.route("**/v1/devices?*", async (route) => {
    const query = new URL(route.request().url()).searchParams;
    const limit = Number(query.get("limit"));
    if (query.get("count") && limit === 1) return route.fulfill({ json: { items: [], total: DEVICES } });
    if (slow) await new Promise((done) => setTimeout(done, slow));
    const from = Number(query.get("page") ?? query.get("offset") ?? 0);
    const at = "2026-01-01T00:00:00Z";
    const items = Array.from({ length: Math.max(0, Math.min(limit, DEVICES - from)) }, (_, n) => ({ id: id(from + n), site: "w1", state: "active", resurfaced: false, addresses: [], keys: [], labels: {}, aliases: [], confused_with: [], first_seen: at, last_seen: at, etag: "1" }));
    const next = from + items.length;
    await route.fulfill({ json: { items, total: DEVICES, ...(query.get("offset") ? { here: String(from) } : {}), ...(next < DEVICES ? { next: String(next) } : {}) } });
  });
  await tab.select("site=w1");
  await tab.see("1,000,000 devices");
  await tab.judge("million");
  const height = await tab.page.evaluate(() => document.querySelector(".grid").scrollHeight);
  assert.ok(height <= 4_000_000 && height > 3_900_000, `${height}`);
  // By keys: every row is the one that its number says.
  await tab.page.getByRole("grid").focus();
  for (const keys of [["End"], ["ArrowUp", "ArrowUp", "PageUp"], ["Home"], ["PageDown", "ArrowDown"], ["End", "PageUp"]]) {
    await tab.type(...keys);
    await tab.until("the row is there", async () => (await current(tab)).text.startsWith("dev-"));
    const { number, text, seen } = await current(tab);
    assert.ok(text.startsWith(id(number)) && seen, `${keys}: ${number}, ${text}, ${seen}`);
  }
  await pull(tab, 0.5);
  await tab.until("it is in the middle", async () => Math.abs((await first(tab)) / DEVICES - 0.5) < 0.01);
  await noneBlank(tab);
  // What is not here yet says so.
  slow = 2_000;
  await pull(tab, 0.8);
  await tab.see("Loading…");
  await tab.judge("million-coming");
  slow = 0;
  await noneBlank(tab);
  await tab.page.unroute("**/v1/devices?*");
  await tab.close();
});
