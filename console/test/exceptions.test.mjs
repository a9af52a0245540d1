// Exceptions in a real browser: what may not be is told before anything is made; one is looked at, opened, and ended.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch, open } from "./browser.mjs";
import { HOSTILE, PASSWORD, policy, start } from "./estate.mjs";

let browser;
let hq;

/** What people may: not the servers, so that there is something to open. */
const SOME = `
@id("local.some")
@reason("a test")
permit (principal, action == Action::"connect", resource)
unless { resource == Service::"wms-web" };
`;

before(async () => {
  browser = await launch();
  hq = await start();
  await hq.setup();
  await hq.fill(30);
  const { content } = await hq.must("GET", "/v1/policy");
  const files = policy();
  // What has no address is enforced nowhere.
  ["handheld", "wms", "camera"].forEach((id, n) => {
    files["estate.toml"] = files["estate.toml"].replace(`[[device]]\nid = "${id}"\n`, (line) => `${line}macs = ["00:1b:1b:00:00:0${n}"]\naddresses = ["10.9.0.${n + 1}"]\n`);
  });
  await hq.must("PUT", "/v1/policy", { files: { ...files, "policies/local.cedar": SOME, "tests.toml": "" }, parent: content, why: "not everything is open" });
});

after(async () => {
  await browser?.close();
  await hq?.remove();
});

async function exceptions(login = "anna", expected = [404, 412, 422]) {
  const tab = await open(browser, hq.base, { path: "/exceptions", expected });
  await tab.signIn(login);
  await tab.page.getByRole("heading", { level: 1, name: "Exceptions" }).waitFor();
  return tab;
}

const all = async () => (await hq.must("GET", "/v1/exceptions")).items;

/** Fills in what is asked, by labels. */
async function ask(tab, { from, to, owner = "floor", why = "inventory night" }) {
  await tab.page.getByLabel("Device that may").fill(from);
  await tab.page.getByLabel("Service that it may open").selectOption(to);
  await tab.page.getByLabel("Answerable").selectOption(owner);
  await tab.page.getByLabel("Reason").fill(why);
  await tab.page.getByRole("button", { name: "Look at what it opens" }).focus();
  await tab.type("Enter");
}

test("there is none; what may not be is refused with its reason, and nothing is made", async () => {
  const tab = await exceptions();
  await tab.see("No path is open by exception");
  await tab.judge("exceptions-none");
  await tab.page.getByRole("button", { name: "Open a path for a while…" }).focus();
  await tab.type("Enter");
  await tab.page.getByLabel("Service that it may open").locator("option", { hasText: "wms" }).first().waitFor({ state: "attached" });
  await tab.judge("exception-add");
  assert.equal(await tab.page.getByRole("button", { name: "Look at what it opens" }).isEnabled(), false);
  await ask(tab, { from: "nobody", to: "wms-web" });
  await tab.see("device.unknown");
  await ask(tab, { from: "camera", to: "label-print" });
  await tab.see("It may not be made");
  await tab.see("no exception lifts a forbid");
  await tab.judge("exception-refused");
  assert.equal(await tab.page.getByRole("button", { name: /^Open it until/ }).isEnabled(), false);
  assert.deepEqual(await all(), []);
  await tab.type("Escape");
  await tab.until("the question is gone", () => tab.page.url().endsWith("/exceptions"));
  await tab.close();
});

test("one is looked at, opened by keyboard, seen by everybody, and ended", async () => {
  const tab = await exceptions();
  await tab.type("g", "e");
  await tab.page.getByRole("button", { name: "Open a path for a while…" }).focus();
  await tab.type("Enter");
  await ask(tab, { from: "handheld", to: "wms-web", why: HOSTILE });
  await tab.see("Nothing is made yet.");
  await tab.judge("exception-looked-at");
  assert.deepEqual(await all(), []);
  // Another term is another question.
  await tab.page.getByLabel("Ends after").selectOption("3600");
  assert.equal(await tab.page.getByRole("button", { name: /^Open it until/ }).count(), 0);
  await tab.page.getByRole("button", { name: "Look at what it opens" }).focus();
  await tab.type("Enter");
  await tab.page.getByRole("button", { name: /^Open it until/ }).focus();
  await tab.type("Enter");
  await tab.see("open, ends soon");
  await tab.see("1 lasts");
  const [made] = await all();
  assert.deepEqual([made.from, made.to, made.owner, made.reason], ["handheld", "wms-web", "floor", HOSTILE]);
  await tab.judge("exceptions");
  assert.equal(await tab.page.locator("img").count(), 0);

  await tab.page.getByRole("button", { name: "End: handheld to wms-web…" }).focus();
  await tab.type("Enter", "=night is over");
  await tab.judge("exception-end");
  await tab.type("Enter");
  await tab.see("No path is open by exception");
  assert.equal((await all())[0].state, "ended");
  await tab.page.getByRole("link", { name: "Over" }).focus();
  await tab.type("Enter");
  await tab.page.locator(".mark", { hasText: "ended" }).waitFor();
  await tab.judge("exceptions-over");
  await tab.close();
});

test("under another policy nothing is made of what was looked at; what somebody else ended is told", async () => {
  const tab = await exceptions();
  await tab.page.getByRole("button", { name: "Open a path for a while…" }).focus();
  await tab.type("Enter");
  await ask(tab, { from: "handheld", to: "wms-web" });
  await tab.page.getByRole("button", { name: /^Open it until/ }).waitFor();
  const { content, files } = await hq.must("GET", "/v1/policy");
  await hq.must("PUT", "/v1/policy", { files: { ...files, "policies/local.cedar": `${SOME}// in between\n` }, parent: content, why: "in between" });
  await tab.page.getByRole("button", { name: /^Open it until/ }).focus();
  await tab.type("Enter");
  await tab.see("request.stale");
  await tab.judge("exception-policy-changed");
  await tab.page.getByRole("button", { name: "Look at what it opens" }).focus();
  await tab.type("Enter");
  await tab.page.getByRole("button", { name: /^Open it until/ }).focus();
  await tab.type("Enter");
  await tab.see("1 lasts");
  await tab.page.getByRole("button", { name: /^End: / }).focus();
  await tab.type("Enter", "=over");
  const [made] = (await all()).filter(({ state }) => state !== "ended");
  await hq.must("POST", `/v1/exceptions/${made.id}/end`, { why: "somebody else was quicker" });
  await tab.type("Enter");
  await tab.page.getByRole("dialog").getByRole("alert").waitFor();
  await tab.judge("exception-ended-meanwhile");
  await tab.type("Escape");
  await tab.see("No path is open by exception");
  await tab.close();
});

test("whoever only looks opens and ends nothing", async () => {
  await hq.must("POST", "/v1/exceptions", { from: "handheld", to: "wms-web", owner: "floor", for_s: 3600, why: "night" });
  await hq.must("POST", "/v1/operators", { login: "vera", name: "Vera", roles: ["viewer"], password: `${PASSWORD} 0`, why: "tests" });
  const { token } = await hq.must("POST", "/v1/login", { login: "vera", password: `${PASSWORD} 0` }, { token: "" });
  await hq.ask("POST", "/v1/password", { old: `${PASSWORD} 0`, new: PASSWORD }, { token });
  const tab = await exceptions("vera", []);
  await tab.see("open, ends soon");
  await tab.judge("exceptions-viewer");
  for (const name of [/^Open a path/, /^End/]) assert.equal(await tab.page.getByRole("button", { name }).count(), 0, `${name}`);
  await tab.close();
});
