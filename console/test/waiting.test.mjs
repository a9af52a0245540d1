// What waits for a person, in a real browser: evidence, age, what each choice would do; and nothing that somebody may not choose.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch, open } from "./browser.mjs";
import { HOSTILE, PASSWORD, start } from "./estate.mjs";

/** More than a change may concern without a second person. */
const DEVICES = 1_500;

let browser;
let hq;
/** Sessions by login. */
const sessions = {};

before(async () => {
  browser = await launch();
  hq = await start();
  await hq.setup();
  await hq.fill(DEVICES);
  for (const [login, roles] of [["ben", ["operator"]], ["vera", ["viewer"]]]) {
    await hq.must("POST", "/v1/operators", { login, name: login === "ben" ? "Ben" : "Vera", roles, password: `${PASSWORD} 0`, why: "tests" });
    const { token } = await hq.must("POST", "/v1/login", { login, password: `${PASSWORD} 0` }, { token: "" });
    await hq.ask("POST", "/v1/password", { old: `${PASSWORD} 0`, new: PASSWORD }, { token });
    sessions[login] = (await hq.must("POST", "/v1/login", { login, password: PASSWORD }, { token: "" })).token;
  }
});

after(async () => {
  await browser?.close();
  await hq?.remove();
});

async function told(id, keys, day, extra = []) {
  const at = `2026-11-${String(day).padStart(2, "0")}T00:00:00Z`;
  const said = [["model", "P-17", 90], ["vendor", "Zebrix", 90], ...extra].map(([field, value, confidence]) => ({ field, value, confidence, at }));
  await hq.must("POST", "/v1/devices/report", { site: "w1", source: "import/tests", devices: [{ id, subject: id, keys, addresses: [], said, first_seen: "2026-11-01T00:00:00Z", last_seen: at }], why: "tests" });
}

const [A, B] = ["mac/00:80:f4:00:00:0a", "mac/00:80:f4:00:00:0b"];

async function waiting(login, path = "/waiting", expected = []) {
  const tab = await open(browser, hq.base, { path, expected });
  await tab.signIn(login);
  await tab.page.getByRole("heading", { level: 1, name: path === "/devices" ? "Inventory" : "Waiting" }).waitFor();
  return tab;
}

const questions = async (kind) => (await hq.must("GET", `/v1/questions?kind=${kind}&limit=1000`)).items;

/** Chooses by keyboard: the choice, the reason, the button. */
async function decide(tab, choice, why) {
  await tab.page.getByRole("radio", { name: new RegExp(`^${choice}`) }).focus();
  await tab.type("Space", "Tab", `=${why}`, "Enter");
}

test("one device or two: side by side, merged by keyboard, and not asked again", async () => {
  await told("scan-a", [A], 2, [["hostname", HOSTILE, 70]]);
  await told("scan-b", [B], 2, [["firmware", "11.0.3", 80]]);
  await told("scan-a", [A, B], 3);
  const [asked] = await questions("same-device");
  assert.ok(asked, "the estate asks");
  const tab = await waiting("ben", "/devices");
  await tab.type("g", "w");
  await tab.see("One device, or two?");
  // From the list, by arrows.
  await tab.page.getByRole("link", { name: /are they one device/ }).focus();
  await tab.type("Enter");
  await tab.see("Side by side");
  await tab.see("P-17");
  await tab.see(HOSTILE);
  await tab.judge("waiting-same");
  assert.equal(await tab.page.locator("img").count(), 0);
  await decide(tab, "Merge into scan-a", "the same label on it");
  await tab.until("they are one", async () => (await hq.must("GET", "/v1/devices/scan-a")).aliases.includes("scan-b"));
  await tab.see(/Done: Merge into scan-a|This waits no more/);
  assert.deepEqual(await questions("same-device"), []);
  const { items } = await hq.must("GET", "/v1/devices/scan-a/history?limit=1");
  assert.equal(items[0].why, "the same label on it");
  await tab.judge("waiting-merged");
  await tab.close();
});

test("what was retired is back: it is taken in again, or stays retired", async () => {
  await told("old-one", [], 2);
  await hq.must("POST", "/v1/devices/old-one/retire", { why: "scrapped" });
  await told("old-one", [], 4);
  const tab = await waiting("ben");
  await tab.page.getByRole("link", { name: /was seen after it was retired/ }).focus();
  await tab.type("Enter");
  await tab.see("A retired device is back");
  await tab.judge("waiting-back");
  await decide(tab, "Take back in", "it is in the spares again");
  await tab.until("it is active", async () => (await hq.must("GET", "/v1/devices/old-one")).state === "active");
  await tab.close();
});

test("how much waits stands beside the name of the screen, and follows", async () => {
  const waits = async () => (await hq.must("GET", "/v1/questions?limit=1")).total;
  const tab = await waiting("vera", "/devices");
  const badge = tab.page.getByRole("navigation", { name: "Screens" }).getByRole("link", { name: /^Waiting/ }).locator(".badge");
  const before = await waits();
  await tab.until("it is told", async () => (await badge.textContent()) === `${before} wait`);
  assert.equal(await badge.getAttribute("title"), `${before} questions wait for a person`);
  await told("badge-a", ["mac/00:80:f4:00:01:0a"], 2);
  await told("badge-b", ["mac/00:80:f4:00:01:0b"], 2);
  await told("badge-a", ["mac/00:80:f4:00:01:0a", "mac/00:80:f4:00:01:0b"], 3);
  assert.equal(await waits(), before + 1);
  await tab.until("it follows", async () => (await badge.textContent()) === `${before + 1} wait`);
  await tab.judge("waiting-badge");
  const [asked] = await questions("same-device");
  await hq.must("POST", asked.choices.at(-1).request.path, { ...asked.choices.at(-1).request.body, why: "seen" });
  await tab.until("it is one less", async () => (await badge.textContent()) === `${before} wait`);
  await tab.close();
});

test("a second person sees what is asked for, and approves it; who asked carries it out", async () => {
  const owner = { l: "state=active", set: { owner: "video" }, why: "everything is theirs" };
  const asked = await hq.must("POST", "/v1/devices/edit", owner, { token: sessions.ben });
  assert.equal(asked.state, "pending");
  // Who asked may take it back, and no more.
  const own = await waiting("ben", `/waiting/${asked.id}`);
  await own.see("You asked for this");
  assert.deepEqual(await own.page.getByRole("radio").count(), 1);
  await own.judge("waiting-own");
  // Who may not, is not offered it.
  const looks = await waiting("vera", `/waiting/${asked.id}`, [403]);
  await looks.see("You may look at this, and somebody else decides it");
  assert.equal(await looks.page.getByRole("radio").count(), 0);
  await looks.judge("waiting-barred");
  await looks.close();

  const tab = await waiting("anna", "/waiting");
  await tab.see("everything is theirs");
  await tab.see("state=active");
  await tab.judge("waiting-approval");
  await decide(tab, "Approve", "seen, and it is right");
  await tab.until("it is approved", async () => (await hq.must("GET", "/v1/approvals")).items.find(({ id }) => id === asked.id).state === "approved");
  await tab.close();

  // Live, without loading anything again; whoever is no admin is not told of it at once, and looks after a while.
  await own.page.reload();
  await own.see("Yours to carry out");
  await own.judge("waiting-approved");
  await own.page.getByRole("link", { name: "Go to these devices" }).focus();
  await own.type("Enter");
  await own.page.getByRole("grid").waitFor();
  await own.page.getByRole("button", { name: "Set owner of all of these…" }).focus();
  await own.type("Enter");
  await own.page.getByRole("heading", { name: /Set the owner of 1,5\d\d devices/ }).waitFor();
  await own.page.getByRole("combobox", { name: "Owner" }).selectOption("video");
  await own.page.getByRole("combobox", { name: "Owner" }).focus();
  await own.type("Tab", "=everything is theirs", "Enter");
  await own.see("Approved: it can be carried out");
  await own.page.getByRole("button", { name: "Carry it out" }).focus();
  await own.type("Enter");
  await own.see(/Done: /);
  assert.equal((await hq.must("GET", "/v1/devices/camera")).owner.value, "video");
  await own.close();
});

test("a rejected change is told, and what is answered by somebody else meanwhile is no trouble", async () => {
  const asked = await hq.must("POST", "/v1/devices/edit", { l: "state=active", set: { criticality: "low" }, why: `${HOSTILE} again` }, { token: sessions.ben });
  const tab = await waiting("anna", `/waiting/${asked.id}`, [409]);
  await tab.see(`${HOSTILE} again`);
  await tab.page.getByRole("radio", { name: /^Reject/ }).focus();
  await tab.type("Space", "Tab", "=not all of them");
  await hq.must("POST", `/v1/approvals/${asked.id}`, { approve: false, why: "no" }, { token: sessions.ben });
  await tab.until("it is gone", async () => (await tab.page.getByRole("radio").count()) === 0 || (await tab.type("Enter"), false));
  await tab.see("Nothing was changed. It can be asked for again.");
  await tab.judge("waiting-rejected");
  assert.equal(await tab.page.locator("img").count(), 0);
  await tab.close();
});

test("without an owner: to the devices; a site without a box: how; nothing more: said", async (t) => {
  const tab = await waiting("anna", "/waiting/not-enrolled-w1");
  await tab.see("ringfence sites token w1");
  await tab.judge("waiting-site");
  await told("nobodys", [], 2);
  await tab.page.goto(`${hq.base}/waiting/no-owner-w1`);
  await tab.page.getByRole("link", { name: "Look at these devices" }).focus();
  await tab.type("Enter");
  await tab.page.getByRole("grid").waitFor();
  assert.equal(new URL(tab.page.url()).searchParams.get("l"), "site=w1,!owner,state!=retired");
  await tab.close();

  const own = await start();
  t.after(() => own.remove());
  await own.setup();
  const other = await open(browser, own.base, { path: "/waiting" });
  await other.signIn();
  await other.see("Nothing waits for a person");
  await other.judge("waiting-none");
  await other.close();
});
