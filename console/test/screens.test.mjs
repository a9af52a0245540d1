// Every screen in a real browser, on a real controller: by keyboard alone, judged by axe, seen in light and dark.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch, open } from "./browser.mjs";
import { HOSTILE, PASSWORD, start } from "./estate.mjs";

/** More than a change may concern without a second person. */
const DEVICES = 1_500;
const FIRST_LOAD_MAX = 180_000;

let browser;
let hq;

before(async () => {
  browser = await launch();
  hq = await start();
  await hq.setup();
  await hq.fill(DEVICES);
});

after(async () => {
  await browser?.close();
  await hq?.remove();
});

const rows = (tab) => tab.page.getByRole("row");

async function operator(login, password = PASSWORD) {
  await hq.must("POST", "/v1/operators", { login, name: login, roles: ["admin"], password: `${PASSWORD} 0`, why: "tests" });
  const { token } = await hq.must("POST", "/v1/login", { login, password: `${PASSWORD} 0` }, { token: "" });
  await hq.ask("POST", "/v1/password", { old: `${PASSWORD} 0`, new: password }, { token });
}

async function session(login, password = PASSWORD) {
  return (await hq.must("POST", "/v1/login", { login, password }, { token: "" })).token;
}

test("the page is small, its own, and closed to everything else", async () => {
  const tab = await open(browser, "about:blank", { path: "" });
  const sizes = [];
  tab.wrong.length = 0;
  tab.page.removeAllListeners("request");
  tab.page.on("requestfinished", (request) => sizes.push(request.sizes().then(({ responseBodySize }) => responseBodySize)));
  const answer = await tab.page.goto(hq.base);
  await tab.page.getByLabel("Login").waitFor();
  const policy = answer.headers()["content-security-policy"];
  for (const part of ["default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'", "trusted-types 'none'"]) assert.ok(policy.includes(part), policy);
  const total = (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);
  assert.ok(total > 50_000 && total <= FIRST_LOAD_MAX, `${total} bytes`);
  const bad = await tab.page.evaluate(() => {
    try {
      document.body.innerHTML = "<b>markup</b>";
      return "text became markup";
    } catch {
      return "";
    }
  });
  assert.equal(bad, "");
  await tab.context.close();
});

test("coming in: a wrong password is told, the right one opens the inventory", async () => {
  const tab = await open(browser, hq.base, { expected: [401] });
  await tab.see("Sign in");
  await tab.judge("sign-in");
  // The first field has the focus.
  await tab.type("=anna", "Tab", "=not it at all", "Enter");
  await tab.see("auth.wrong");
  await tab.judge("sign-in-wrong");
  await tab.signIn();
  await tab.page.getByRole("grid").waitFor();
  await tab.see("Live");
  await tab.close();
});

test("a password that somebody else has set opens nothing but its change", async () => {
  await hq.must("POST", "/v1/operators", { login: "carla", name: "Carla", roles: ["viewer"], password: "given by anna 1", why: "tests" });
  const tab = await open(browser, hq.base, { path: "/devices" });
  await tab.signIn("carla", "given by anna 1");
  await tab.see("Choose a password of your own");
  await tab.judge("must-change");
  await tab.type("=given by anna 1", "Tab", "=my own from now on", "Tab", "=my own from now on", "Enter");
  await tab.page.getByRole("grid").waitFor();
  await tab.close();
});

test("the inventory by keyboard alone, with hostile devices inert", async () => {
  const tab = await open(browser, hq.base, { expected: [400] });
  await tab.signIn();
  await tab.page.getByRole("grid").waitFor();
  await tab.see(HOSTILE);
  await tab.judge("inventory");
  assert.equal(await tab.page.title(), "Inventory · Ringfence");
  assert.equal(await tab.page.locator("img").count(), 0);

  await tab.select("type=plc,site=w2");
  await tab.until("only those are shown", async () => (await tab.page.locator(".grid .row").count()) > 3 && (await tab.page.getByText("ip-camera").count()) === 0);
  assert.ok(tab.page.url().endsWith("/devices?l=type%3Dplc%2Csite%3Dw2"), tab.page.url());
  await tab.judge("inventory-selected");

  await tab.select("color=red");
  await tab.see("is no field");
  await tab.judge("inventory-refused");
  await tab.select("type=submarine");
  await tab.see("No device is so");
  await tab.judge("inventory-none");
  await tab.type("/", "Tab", "Escape");
  await tab.page.getByRole("grid").waitFor();

  // Columns, by keyboard.
  await tab.page.getByRole("button", { name: "Columns" }).focus();
  await tab.type("Enter");
  await tab.page.getByLabel("Firmware").focus();
  await tab.type("Space");
  await tab.judge("inventory-columns");
  await tab.type("Escape");
  await tab.page.getByRole("columnheader", { name: "Firmware" }).waitFor();

  // To the end of the list: every row comes.
  await tab.page.getByRole("grid").focus();
  await tab.until("the whole list is there", async () => {
    await tab.type("End");
    return /–1,510 of 1,510$/.test(await tab.page.locator(".where").textContent());
  });
  await tab.until("no row is blank", async () => (await tab.page.locator(".coming").count()) === 0);
  await tab.type("Home", "ArrowDown", "ArrowDown", "Space");
  await tab.see("1 chosen");
  await tab.type("Escape");
  await tab.type("Home", "Enter");
  await tab.see("What is known");
  assert.ok(tab.page.url().endsWith("/devices/camera"), tab.page.url());
  await tab.type("g", "i");
  await tab.page.getByRole("grid").waitFor();
  await tab.close();
});

test("palette and help", async () => {
  const tab = await open(browser, hq.base);
  await tab.signIn();
  await tab.page.getByRole("grid").waitFor();
  await tab.type("?");
  await tab.see("Command palette");
  await tab.judge("help");
  await tab.type("Escape", "Control+k", "=theme dark");
  await tab.judge("palette");
  await tab.type("Enter");
  assert.equal(await tab.page.evaluate(() => document.documentElement.dataset.theme), "dark");
  await tab.type("Control+k", "=camera", "Enter");
  await tab.see("What is known");
  await tab.close();
});

test("the owner of many is set once, for all of them", async () => {
  const tab = await open(browser, hq.base);
  await tab.signIn();
  await tab.page.getByRole("grid").waitFor();
  await tab.select("type=label-printer,site=w2");
  await tab.page.getByRole("button", { name: "Set owner of all of these…" }).focus();
  await tab.type("Enter");
  await tab.page.getByRole("heading", { name: /Set the owner of \d+ devices/ }).waitFor();
  await tab.type("ArrowDown", "Tab", "=ticket 17", "Tab");
  await tab.judge("owner");
  await tab.type("Tab", "Enter");
  await tab.see(/Done: \d+ of \d+ changed/);
  await tab.judge("owner-done");
  await tab.type("Escape");
  const { items } = await hq.must("GET", "/v1/devices?l=type=label-printer,site=w2&limit=1000");
  assert.ok(items.length > 50);
  assert.ok(items.every(({ owner }) => owner?.value === items[0].owner.value && owner.decided));
  const { items: past } = await hq.must("GET", `/v1/devices/${items[0].id}/history?limit=1`);
  assert.equal(past[0].why, "ticket 17");
  await tab.close();
});

test("what concerns very many waits for a second person", async () => {
  await operator("ben");
  const tab = await open(browser, hq.base);
  await tab.signIn();
  await tab.page.getByRole("grid").waitFor();
  await tab.page.getByRole("button", { name: "Set owner of all…" }).focus();
  await tab.type("Enter");
  await tab.page.getByRole("heading", { name: "Set the owner of 1,510 devices" }).waitFor();
  await tab.type("ArrowDown", "Tab", "=everything is theirs", "Enter");
  await tab.see("A second person has to approve this");
  await tab.judge("second-person");
  assert.ok((await hq.must("GET", "/v1/devices?limit=1&l=id=camera")).items[0].owner === undefined);
  const id = (await tab.page.locator("dialog").getByRole("link", { name: "Waiting" }).getAttribute("href")).split("/").at(-1);
  await hq.must("POST", `/v1/approvals/${id}`, { approve: true, why: "seen" }, { token: await session("ben") });
  await tab.page.getByRole("button", { name: "Look again" }).focus();
  await tab.type("Enter");
  await tab.see("Approved: it can be carried out");
  await tab.page.getByRole("button", { name: "Carry it out" }).focus();
  await tab.type("Enter");
  await tab.see(/Done: /);
  await tab.close();
});

test("a device: evidence, decision, quarantine, and a change of somebody else in between", async () => {
  const tab = await open(browser, hq.base, { path: "/devices/camera", expected: [404, 412] });
  await tab.signIn();
  await tab.see("Granted: 3 services, and nothing else");
  await tab.page.locator("summary").first().focus();
  await tab.type("Enter");
  await tab.page.getByRole("button", { name: "Make it again" }).focus();
  await tab.type("Enter");
  await tab.see("the same, byte for byte");
  await tab.judge("device");

  await tab.page.getByRole("button", { name: "Quarantine…" }).focus();
  await tab.type("Enter", "=it scans");
  await tab.judge("quarantine");
  await tab.type("Enter");
  // Without loading anything again.
  await tab.see("Refused: nothing is granted");
  await tab.see("“it scans”");
  await tab.judge("device-quarantined");
  assert.equal((await hq.must("GET", "/v1/devices/camera")).posture.value, "quarantined");

  await tab.page.getByRole("button", { name: "Edit…" }).focus();
  await tab.type("Enter", "=Gate 3", "Tab", "Tab", "Tab", "Tab", "=walk-through");
  await hq.must("PATCH", "/v1/devices/camera", { set: { criticality: "high" }, why: "in between" });
  await tab.type("Enter");
  await tab.see("It has changed since it was read");
  await tab.judge("device-changed-meanwhile");
  await tab.page.getByRole("button", { name: "Look at it as it is now" }).focus();
  await tab.type("Enter");
  await tab.page.getByRole("button", { name: "Save" }).focus();
  await tab.type("Enter");
  await tab.until("it has its name", async () => (await hq.must("GET", "/v1/devices/camera")).name?.value === "Gate 3");
  // The next change is made of what is seen, so that has to be seen first.
  await tab.see("Gate 3");
  await tab.until("no dialog is left", async () => (await tab.page.getByRole("dialog").count()) === 0);

  await tab.page.getByRole("button", { name: "Release…" }).focus();
  await tab.type("Enter", "=fixed", "Enter");
  await tab.see("Granted: 3 services, and nothing else");
  await tab.page.goto(`${hq.base}/devices/no-such-thing`);
  await tab.see("There is no device with this id");
  await tab.judge("device-unknown");
  await tab.close();
});

test("the hostile device's own screen is text", async () => {
  const tab = await open(browser, hq.base, { path: "/devices/dev-000001" });
  await tab.signIn();
  await tab.see("What is known");
  await tab.see(HOSTILE);
  await tab.judge("device-hostile");
  assert.equal(await tab.page.locator("img").count(), 0);
  assert.equal(await tab.page.title(), "dev-000001 · Ringfence");
  await tab.close();
});

test("the journal is read and proved in the browser, and a byte that was changed is told", async () => {
  const tab = await open(browser, hq.base, { expected: [404] });
  await tab.signIn();
  await tab.page.getByRole("grid").waitFor();
  await tab.type("g", "p");
  await tab.see("Signed head");
  await tab.see("Nobody cosigns this journal.");
  await tab.see("the estate of the tests");
  await tab.judge("proof");
  await tab.type("/", "=3", "Enter");
  await tab.see("Verified in this browser");
  await tab.see("verified here");
  await tab.see("Warehouse North");
  await tab.judge("proof-entry");
  // What happens meanwhile appears.
  await tab.type("g", "p");
  await tab.see("Signed head");
  await hq.must("PATCH", "/v1/devices/dev-000005", { set: { name: "Dock 5" }, why: "it has a name now" });
  await tab.see("it has a name now");

  await tab.page.route("**/proof", async (route) => {
    const answer = await route.fetch();
    const proof = await answer.json();
    const bytes = Buffer.from(proof.entry, "base64");
    bytes[bytes.length - 4] ^= 1;
    await route.fulfill({ response: answer, json: { ...proof, entry: bytes.toString("base64") } });
  });
  await tab.type("/", "=4", "Enter");
  await tab.see("This entry is not what was signed");
  await tab.judge("proof-changed");
  await tab.page.unroute("**/proof");
  await tab.type("/");
  await tab.page.goto(`${hq.base}/proof/999999999`);
  await tab.see("journal.entry");
  await tab.close();
});

test("reach: the matrix, one question, the map and its table, and who gets furthest", async () => {
  const tab = await open(browser, hq.base, { expected: [404] });
  await tab.signIn();
  await tab.page.getByRole("grid").waitFor();
  await tab.type("g", "r");
  await tab.see("What zones may reach");
  await tab.page.getByRole("button", { name: /^w1\/cameras to / }).first().focus();
  await tab.type("Enter");
  await tab.see("sample.open");
  await tab.judge("reach");
  await tab.type("/", "=camera", "Tab", "ArrowDown", "Tab", "Enter");
  await tab.see(/(Yes|No), (tcp|udp)\/\d+ is (permitted|denied)/);
  await tab.judge("reach-why");
  await tab.page.getByRole("link", { name: "Map", exact: true }).focus();
  await tab.type("Enter");
  await tab.see("The same as a table");
  assert.ok((await tab.page.locator(".map .node").count()) > 3);
  await tab.judge("reach-map");
  await tab.page.getByRole("link", { name: "If taken over" }).focus();
  await tab.type("Enter");
  await tab.see("From these devices somebody gets furthest");
  await tab.judge("reach-worst");
  await tab.page.goto(`${hq.base}/devices/camera`);
  await tab.see("If somebody takes it over");
  await tab.close();
});

test("a session that ends says so, and comes back to where it was", async () => {
  await operator("dora");
  const tab = await open(browser, hq.base, { path: "/devices/dev-000002", expected: [401] });
  await tab.signIn("dora");
  await tab.see("What is known");
  // All sessions of hers end.
  const token = await session("dora");
  await hq.ask("POST", "/v1/password", { old: PASSWORD, new: `${PASSWORD} 2` }, { token });
  await tab.see("Your session has ended");
  await tab.judge("session-ended");
  await tab.type(`=${PASSWORD} 2`, "Enter");
  await tab.see("What is known");
  assert.ok(tab.page.url().endsWith("/devices/dev-000002"));
  await tab.close();
});

test("whoever is away is signed out, although changes keep arriving", async () => {
  const tab = await open(browser, hq.base, { expected: [401] });
  await tab.page.clock.install();
  await tab.page.reload();
  await tab.signIn();
  await tab.page.getByRole("grid").waitFor();
  const token = await tab.page.evaluate(() => JSON.parse(sessionStorage.getItem("ringfence.session")).token);
  await tab.page.clock.fastForward("29:00");
  await tab.type("ArrowDown");
  await tab.page.clock.fastForward("29:00");
  await tab.see("Inventory");
  await tab.page.clock.fastForward("02:00");
  await tab.see("Your session has ended");
  await tab.until("the controller forgot it too", async () => (await hq.ask("GET", "/v1/whoami", undefined, { token })).status === 401);
  await tab.close();
});

test("an empty estate says what to do next; a controller that goes away is told, and found again", async (t) => {
  let own = await start();
  t.after(() => own.remove());
  await own.setup();
  const tab = await open(browser, own.base, { expected: [401, "lost"] });
  await tab.signIn();
  await tab.see("The estate is empty");
  await tab.judge("empty");
  await tab.see("Live");
  const { folder, base } = own;
  await own.stop();
  await tab.see("The controller does not answer.");
  await tab.judge("lost");
  own = await start({ folder, port: Number(new URL(base).port) });
  // Sessions are of the process.
  await tab.see("Your session has ended");
  await tab.type(`=${PASSWORD}`, "Enter");
  await tab.see("The estate is empty");
  await tab.see("Live");
  await tab.close();
});
