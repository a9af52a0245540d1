// What another policy folder would change, over the matrix and as a table; and what of all that is enforced.

import assert from "node:assert/strict";
import { mkdtempSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, test } from "node:test";
import { launch, open } from "./browser.mjs";
import { HOSTILE, PASSWORD, policy, start } from "./estate.mjs";

let browser;
let hq;

/** The sample without its test of a device that has no key here: what is planned is held against the estate as it is. */
function settable() {
  const files = policy();
  files["tests.toml"] = files["tests.toml"].split(/^(?=\[\[)/m).filter((part) => !part.includes('"camera-keyed"')).join("");
  return files;
}

async function filled(devices) {
  const it = await start();
  await it.setup();
  await it.fill(devices);
  return it;
}

/** Puts such a folder in force. */
async function settled(it) {
  const { content } = await it.must("GET", "/v1/policy");
  await it.must("PUT", "/v1/policy", { files: settable(), parent: content, why: "tests" });
}

before(async () => {
  browser = await launch();
  hq = await filled(60);
  await settled(hq);
});

after(async () => {
  await browser?.close();
  await hq?.remove();
});

async function reach(login = "anna", expected = [404, 422]) {
  const tab = await open(browser, hq.base, { path: "/reach", expected });
  await tab.signIn(login);
  await tab.see("What zones may reach");
  return tab;
}

/** Plans the folder in force with another text of one file. */
async function plan(tab, file, change, button = "Plan…") {
  await tab.page.getByRole("button", { name: button, exact: true }).focus();
  await tab.type("Enter");
  await tab.page.getByLabel("Or a file of the folder in force").selectOption(file);
  const box = tab.page.getByLabel(`Text of ${file}`);
  await box.fill(change(await box.inputValue()));
  await tab.page.getByRole("button", { name: "Plan it" }).focus();
  await tab.type("Enter");
}

const forbid = `
@id("local.no-printing")
@reason("a test")
forbid (principal, action == Action::"connect", resource == Service::"label-print");
`;

test("a file written differently: what closes is on the matrix and in the table, and nothing is set", async () => {
  const tab = await reach();
  const { content } = await hq.must("GET", "/v1/policy");
  await tab.page.getByRole("button", { name: "Plan…" }).focus();
  await tab.type("Enter");
  await tab.page.getByLabel("Or a file of the folder in force").selectOption("policies/local.cedar");
  await tab.judge("plan-choose");
  await tab.type("Escape");
  await plan(tab, "policies/local.cedar", (text) => text + forbid);
  await tab.see("The plan as a table");
  await tab.see("forbidden by local.no-printing");
  const closed = tab.page.getByRole("button", { name: /to label-print: .*the plan closes it for 1$/ });
  assert.ok((await closed.count()) >= 3, `${await closed.count()}`);
  await tab.judge("plan");
  await closed.first().focus();
  await tab.type("Enter");
  await tab.page.getByLabel("only what the plan changes").focus();
  await tab.type("Space");
  await tab.until("only that service is left", async () => (await tab.page.locator(".matrix thead th").count()) === 2);
  await tab.judge("plan-only");
  assert.equal((await hq.must("GET", "/v1/policy")).content, content);
  // Another screen and back: the plan is still there; then it is left.
  await tab.type("g", "p");
  await tab.see("Signed head");
  await tab.type("g", "r");
  await tab.page.getByRole("button", { name: "Leave the plan" }).focus();
  await tab.type("Enter");
  await tab.until("it is gone", async () => (await tab.page.getByText("The plan as a table").count()) === 0);
  await tab.close();
});

test("a folder of this machine opens paths; one that is none says so", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "ringfence-plan-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const { files } = await hq.must("GET", "/v1/policy");
  const write = (name, text) => {
    mkdirSync(dirname(join(folder, "next", name)), { recursive: true });
    writeFileSync(join(folder, "next", name), text);
  };
  for (const [name, text] of Object.entries(files)) write(name, name === "estate.toml" ? text.replace('packs = ["warehouse"]', "packs = []") : text);
  write(".git/config", "no part of it");
  write("notes.txt", HOSTILE);
  const tab = await reach();
  await tab.page.getByRole("button", { name: "Plan…" }).focus();
  await tab.type("Enter");
  mkdirSync(join(folder, "other"));
  writeFileSync(join(folder, "other/readme.toml"), "");
  await tab.page.getByLabel("A folder of this machine").setInputFiles(join(folder, "other"));
  await tab.see("It has no estate.toml");
  await tab.judge("plan-no-folder");
  await tab.page.getByLabel("A folder of this machine").setInputFiles(join(folder, "next"));
  await tab.see(`next: ${Object.keys(files).length} files`);
  await tab.page.getByRole("button", { name: "Plan it" }).focus();
  await tab.type("Enter");
  // Without the pack everything is open, and the tests of the folder do not hold any more.
  await tab.see("It may not be set:");
  assert.ok((await tab.page.getByRole("button", { name: /denied; the plan opens it for/ }).count()) > 5);
  await tab.judge("plan-refused");
  assert.equal(await tab.page.locator("img").count(), 0);
  await tab.close();
});

test("a folder with a fault is told with its line", async () => {
  const tab = await reach();
  await plan(tab, "policies/local.cedar", () => `permit (principal, action, ${HOSTILE});`);
  await tab.see("policy.faults");
  await tab.judge("plan-faults");
  assert.equal(await tab.page.locator("img").count(), 0);
  await tab.close();
});

test("shadow and enforce, intended, applied and verified", async () => {
  const tab = await reach();
  await tab.page.getByRole("link", { name: "Enforcement" }).focus();
  await tab.type("Enter");
  await tab.see("What sites enforce");
  await tab.see("No box has enrolled, so nothing is enforced there.");
  // How sites with boxes look: the same documents, further on.
  const bundle = (generation) => ({ generation, content: "0".repeat(64) });
  const ack = (generation, progress, why = "") => ({ generation, progress, kernel_generation: generation, why });
  const site = (id, some) => ({ id, name: `Warehouse ${id}`, state: "enrolled", connected: true, devices: 40, happened: [], etag: "1", token_until: null, identity: {}, intended: bundle(7), applied: 7, verified: 7, ack: ack(7, "verified"), ...some });
  const sites = [
    site("w1", {}),
    site("w2", { verified: 6, ack: ack(7, "applied") }),
    site("w3", { connected: false, applied: 5, verified: 5, ack: ack(5, "verified") }),
    site("w4", { applied: 6, verified: 6, ack: ack(7, "refused", `the kernel says ${HOSTILE}`) }),
    site("w5", { state: "revoked", connected: false }),
  ];
  await tab.page.route("**/v1/sites?*", (route) => route.fulfill({ json: { items: sites } }));
  await tab.page.getByRole("link", { name: "Zones and services" }).focus();
  await tab.type("Enter");
  await tab.page.reload();
  await tab.see("What zones may reach");
  await tab.see("applied, not verified");
  await tab.page.getByRole("link", { name: "Enforcement" }).focus();
  await tab.type("Enter");
  for (const word of ["verified", "applied, not verified", "intended, not applied", "refused", "revoked"]) await tab.page.locator(".mark", { hasText: new RegExp(`^${word}$`) }).first().waitFor();
  await tab.see("It enforces generation 5 and gets 7 when it is back".replace("It enforces", "it enforces"));
  await tab.judge("enforcement");
  assert.equal(await tab.page.locator("img").count(), 0);
  await tab.close();
});

test("whoever only looks is offered no plan", async () => {
  await hq.must("POST", "/v1/operators", { login: "vera", name: "Vera", roles: ["viewer"], password: `${PASSWORD} 0`, why: "tests" });
  const { token } = await hq.must("POST", "/v1/login", { login: "vera", password: `${PASSWORD} 0` }, { token: "" });
  await hq.ask("POST", "/v1/password", { old: `${PASSWORD} 0`, new: PASSWORD }, { token });
  const tab = await reach("vera", []);
  assert.equal(await tab.page.getByRole("button", { name: "Plan…" }).count(), 0);
  await tab.close();
});

test("what was planned is set in the place of what it was compared with, and of nothing else", async () => {
  const tab = await reach("anna", [404, 409]);
  await plan(tab, "policies/local.cedar", (text) => `${text}// one\n`);
  await tab.see("No path opens or closes");
  const before = await hq.must("GET", "/v1/policy");
  await hq.must("PUT", "/v1/policy", { files: { ...before.files, "policies/local.cedar": `${before.files["policies/local.cedar"]}// in between\n` }, parent: before.content, why: "in between" });
  const set = async (why) => {
    await tab.page.getByRole("button", { name: "Set it…" }).focus();
    await tab.type("Enter", `=${why}`);
  };
  await set("ticket 30");
  await tab.judge("plan-set");
  await tab.type("Enter");
  await tab.see("policy.parent");
  await tab.judge("plan-set-meanwhile");
  await tab.page.getByRole("button", { name: "Compare again" }).last().focus();
  await tab.type("Enter");
  await tab.until("it is compared", async () => (await tab.page.getByText("being compared…").count()) === 0);
  await set("ticket 31");
  await tab.type("Enter");
  await tab.see("It is in force");
  await tab.judge("plan-is-set");
  const after = await hq.must("GET", "/v1/policy");
  assert.ok(after.files["policies/local.cedar"].endsWith("// one\n"));
  assert.equal(after.origin, "console: the folder in force with another policies/local.cedar");
  await tab.page.getByRole("button", { name: "Close" }).focus();
  await tab.type("Enter");
  await tab.until("nothing is left to compare", async () => (await tab.page.getByText("The plan", { exact: true }).count()) === 0);
  await tab.close();
});

test("a folder for very many devices waits for a second person, and is carried out where it was planned", async (t) => {
  const many = await filled(900);
  t.after(() => many.remove());
  await settled(many);
  await many.report(900, 1_100);
  await many.must("POST", "/v1/operators", { login: "ben", name: "Ben", roles: ["policy-admin"], password: `${PASSWORD} 0`, why: "tests" });
  const { token } = await many.must("POST", "/v1/login", { login: "ben", password: `${PASSWORD} 0` }, { token: "" });
  await many.ask("POST", "/v1/password", { old: `${PASSWORD} 0`, new: PASSWORD }, { token });
  const ben = (await many.must("POST", "/v1/login", { login: "ben", password: PASSWORD }, { token: "" })).token;
  const tab = await open(browser, many.base, { path: "/reach" });
  await tab.signIn();
  await tab.see("What zones may reach");
  await plan(tab, "policies/local.cedar", (text) => `${text}// for many\n`);
  await tab.page.getByRole("button", { name: "Set it…" }).focus();
  await tab.type("Enter", "=ticket 32", "Enter");
  await tab.see("A second person has to approve this");
  await tab.judge("plan-second-person");
  const id = (await tab.page.locator("dialog").getByRole("link", { name: "Waiting" }).getAttribute("href")).split("/").at(-1);
  await many.must("POST", `/v1/approvals/${id}`, { approve: true, why: "seen" }, { token: ben });
  await tab.page.getByRole("button", { name: "Look again" }).focus();
  await tab.type("Enter");
  await tab.page.getByRole("button", { name: "Carry it out" }).focus();
  await tab.type("Enter");
  await tab.see("It is in force");
  assert.ok((await many.must("GET", "/v1/policy")).files["policies/local.cedar"].endsWith("// for many\n"));
  await tab.close();
});
