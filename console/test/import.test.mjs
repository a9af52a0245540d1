// Lists of devices in a real browser: told row by row before anything changes; what is wrong with a row says so; nobody is left with half a list.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch, open } from "./browser.mjs";
import { HOSTILE, PASSWORD, start } from "./estate.mjs";

let browser;
let hq;

before(async () => {
  browser = await launch();
  hq = await start();
  await hq.setup();
  await hq.fill(60);
  // Whose role is newer than what was asked for approves nothing.
  await hq.must("POST", "/v1/operators", { login: "ben", name: "Ben", roles: ["operator"], password: `${PASSWORD} 0`, why: "tests" });
  const { token } = await hq.must("POST", "/v1/login", { login: "ben", password: `${PASSWORD} 0` }, { token: "" });
  await hq.ask("POST", "/v1/password", { old: `${PASSWORD} 0`, new: PASSWORD }, { token });
});

after(async () => {
  await browser?.close();
  await hq?.remove();
});

async function importing(expected = []) {
  const tab = await open(browser, hq.base, { path: "/import", expected });
  await tab.signIn();
  await tab.see("A list of devices");
  return tab;
}

/** A list that is chosen as a file. */
async function choose(tab, text, name = "list.csv") {
  await tab.page.getByLabel("File", { exact: true }).setInputFiles({ name, mimeType: "text/csv", buffer: Buffer.from(text) });
  await tab.see("How it is read");
}

const rows = (tab) => tab.page.locator(".lines .rows .line").allTextContents();
const count = async () => (await hq.must("GET", "/v1/devices?limit=1&count=true")).total;

const MIXED = `id,name,owner,site,vendor,label.rack
dev-000003,Gate camera,video,w1,Axon,r1
new-1,New one,floor,w2,Zebrix,r2
new-2,"${HOSTILE.replaceAll('"', '""')}",,w1,,
new-3,Third,nobody,w1,,
new-4,Fourth,,nowhere,,
`;

test("a pasted list by keyboard: the difference, then done, with what was left out and why", async () => {
  const before = await count();
  const tab = await importing();
  await tab.judge("import");
  await tab.page.getByLabel("Or its text").focus();
  await tab.page.keyboard.insertText(MIXED);
  await tab.type("Tab", "Enter");
  await tab.see("How it is read");
  await tab.judge("import-ways");
  await tab.page.getByRole("button", { name: "Look at what would change" }).focus();
  await tab.type("Enter");
  await tab.see("Nothing is changed yet");
  await tab.until("what is refused is shown first", async () => (await rows(tab)).length === 2);
  const refused = await rows(tab);
  assert.ok(/^5refused/.test(refused[0]) && /owner|team/.test(refused[0]), refused[0]);
  assert.ok(/^6refused/.test(refused[1]) && /nowhere/.test(refused[1]), refused[1]);
  await tab.judge("import-refused");
  await tab.page.getByRole("button", { name: /^all 5/ }).focus();
  await tab.type("Enter");
  await tab.see("Gate camera");
  await tab.see(HOSTILE);
  await tab.judge("import-difference");
  assert.equal(await tab.page.locator("img").count(), 0);
  assert.equal(await count(), before, "a dry run changes nothing");

  await tab.page.getByLabel("Reason").focus();
  await tab.type("=delivery 17", "Enter");
  await tab.see("Done, and 2 rows were left out");
  await tab.judge("import-left-out");
  assert.equal(await count(), before + 2);
  const camera = await hq.must("GET", "/v1/devices/dev-000003");
  assert.deepEqual([camera.name.value, camera.owner.value, camera.labels.rack], ["Gate camera", "video", "r1"]);
  const { items } = await hq.must("GET", "/v1/devices/new-1/history?limit=1");
  assert.equal(items[0].why, "delivery 17");
  await tab.close();
});

test("the same list again is all known; and none at all while a row is refused, where that is wanted", async () => {
  const tab = await importing();
  await choose(tab, MIXED);
  await tab.page.getByRole("button", { name: "Look at what would change" }).focus();
  await tab.type("Enter");
  await tab.see("3 known already");
  await tab.see("No row of it can be taken in");
  await tab.page.getByRole("button", { name: "Another list…" }).first().focus();
  await tab.type("Enter");
  await choose(tab, "id,name,site,owner\nnew-9,Ninth,w1,\nnew-8,Eighth,w1,nobody\n");
  await tab.page.getByRole("button", { name: "Look at what would change" }).focus();
  await tab.type("Enter");
  await tab.page.getByLabel("Reason").focus();
  await tab.type("=delivery 18", "Tab", "Space");
  await tab.judge("import-strict");
  assert.ok(await tab.page.getByRole("button", { name: /^Take in/ }).isDisabled());
  await tab.close();
});

test("what is no list says what to do", async () => {
  const tab = await importing([422, 400]);
  await choose(tab, "id,colour\na,red\n");
  await tab.page.getByRole("button", { name: "Look at what would change" }).focus();
  await tab.type("Enter");
  await tab.see("column `colour` is not known");
  await tab.judge("import-unreadable");
  await tab.page.getByRole("button", { name: "Another list…" }).focus();
  await tab.type("Enter");
  await tab.page.getByLabel("File", { exact: true }).setInputFiles({ name: "list.xlsx", mimeType: "application/zip", buffer: Buffer.from([0x50, 0x4b, 3, 4, 0xff, 0xfe, 0]) });
  await tab.see("the list is no text in UTF-8".replace("the", "The"));
  await tab.judge("import-no-text");
  // Leases do not say where their server is.
  await choose(tab, "1893456000 02:00:5e:00:00:07 10.0.0.7 gate *\n", "dnsmasq.leases");
  await tab.page.getByRole("button", { name: "Look at what would change" }).focus();
  await tab.type("Enter");
  await tab.see("leases do not say where their server is");
  await tab.page.getByLabel("Site of rows that do not say").selectOption("w1");
  await tab.page.getByRole("button", { name: "Look at what would change" }).focus();
  await tab.type("Enter");
  await tab.see("Leases of dnsmasq");
  await tab.judge("import-leases");
  await tab.close();
});

test("an answer that is lost half way: nobody guesses, the list is looked at again", async () => {
  const tab = await importing(["lost"]);
  const list = `id,name,site\n${Array.from({ length: 700 }, (_, n) => `half-${n},Half ${n},w1`).join("\n")}\n`;
  await choose(tab, list);
  await tab.page.getByRole("button", { name: "Look at what would change" }).focus();
  await tab.type("Enter");
  await tab.see("700 new");
  await tab.page.route("**/v1/devices/import?*", async (route) => {
    // The controller does it, and its answer does not arrive.
    await route.fetch();
    await route.abort();
  });
  await tab.page.getByLabel("Reason").focus();
  await tab.type("=delivery 19", "Enter");
  await tab.see("Nobody knows how much of it was done");
  await tab.judge("import-lost");
  await tab.page.unroute("**/v1/devices/import?*");
  await tab.page.getByRole("button", { name: "Look at what is left" }).focus();
  await tab.type("Enter");
  await tab.see("Nothing would change");
  await tab.see("700 known already");
  await tab.judge("import-nothing-left");
  assert.equal((await hq.must("GET", "/v1/devices?limit=1&count=true&q=half-")).total, 700);
  await tab.close();
});

test("what fails after a part of it was done says so, and where to go on", async () => {
  const tab = await importing([500]);
  await choose(tab, "id,name,site\npart-1,Part 1,w1\n");
  await tab.page.getByRole("button", { name: "Look at what would change" }).focus();
  await tab.type("Enter");
  await tab.see("1 new");
  // As the controller answers when its disk is full between two parts.
  const detail = "the journal takes no entries: no space is left";
  const json = { type: "", code: "journal.unwritable", title: "the change", status: 500, detail, help: "1 of 3 parts are done; import the same list again, and only the rest is" };
  await tab.page.route("**/v1/devices/import?*", (route) => route.fulfill({ status: 500, contentType: "application/problem+json", json }));
  await tab.page.getByLabel("Reason").focus();
  await tab.type("=delivery 21", "Enter");
  await tab.see("1 of 3 parts are done");
  await tab.judge("import-half");
  await tab.page.unroute("**/v1/devices/import?*");
  await tab.page.getByRole("button", { name: "Look at what is left" }).focus();
  await tab.type("Enter");
  await tab.see("Nothing is changed yet");
  await tab.close();
});

test("a list that decides about very many waits for a second person, and is carried out with the approval", async () => {
  const tab = await importing();
  const list = `id,name,site\n${Array.from({ length: 1_100 }, (_, n) => `many-${n},Many ${n},w1`).join("\n")}\n`;
  await choose(tab, list);
  await tab.page.getByRole("button", { name: "Look at what would change" }).focus();
  await tab.type("Enter");
  await tab.see("1,100 new");
  await tab.page.getByRole("table", { name: "Rows of the list" }).focus();
  await tab.type("End");
  await tab.see("Many 1099");
  await tab.judge("import-many");
  await tab.page.getByLabel("Reason").focus();
  await tab.type("=delivery 20", "Enter");
  await tab.see("A second person has to approve this");
  await tab.judge("import-second-person");
  const id = (await tab.page.getByRole("link", { name: "Waiting", exact: true }).last().getAttribute("href")).split("/").at(-1);
  const ben = await hq.must("POST", "/v1/login", { login: "ben", password: PASSWORD }, { token: "" });
  await hq.must("POST", `/v1/approvals/${id}`, { approve: true, why: "seen" }, { token: ben.token });
  await tab.page.getByRole("button", { name: "Look again" }).focus();
  await tab.type("Enter");
  await tab.see("Approved: it can be carried out");
  await tab.page.getByRole("button", { name: "Carry it out" }).focus();
  await tab.type("Enter");
  await tab.see("Done: the estate is as the list says");
  await tab.judge("import-done");
  await tab.close();
});
