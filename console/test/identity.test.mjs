// A device without a token asks for a certificate over EST, somebody says which device it is, and the console shows how sure that is.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import https from "node:https";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { launch, open } from "./browser.mjs";
import { HOSTILE, start } from "./estate.mjs";

let hq;
let browser;
/** Where devices enrol. */
let est;

before(async () => {
  hq = await start({ more: ["--est-listen", "127.0.0.1:0"] });
  await hq.setup();
  await hq.fill(3);
  const at = new Date().toISOString();
  const said = [["vendor", "TP-Link", 90], ["type", "ip-camera", 80]].map(([field, value, confidence]) => ({ field, value, confidence, at }));
  const seen = { id: "gate-cam", subject: "gate-cam", keys: ["mac/02:00:5e:ff:00:01"], addresses: ["127.0.0.1"], said, first_seen: at, last_seen: at };
  await hq.must("POST", "/v1/devices/report", { site: "w1", source: "import/tests", devices: [seen], why: "tests" });
  const other = { ...seen, said: [{ field: "vendor", value: "Axis", confidence: 40, at }] };
  await hq.must("POST", "/v1/devices/report", { site: "w1", source: "import/other", devices: [other], why: "tests" });
  ({ est } = await hq.must("POST", "/v1/devices/dev-000001/identity/token", { why: "tests" }));
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await hq?.remove();
});

/** A certificate request, in base64 (RFC 7030 §4.2.1). */
function request(name) {
  const key = join(hq.folder, `${name}.pem`);
  execFileSync("openssl", ["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", key]);
  const made = execFileSync("openssl", ["req", "-new", "-key", key, "-subj", `/CN=${name}`, "-outform", "DER"], { stdio: ["ignore", "pipe", "ignore"] });
  return made.toString("base64");
}

/** What EST answers a device. */
function enrol(csr) {
  return new Promise((done, fail) => {
    const asked = https.request(`${est}/simpleenroll`, { method: "POST", ca: readFileSync(join(hq.folder, "hq/pki/root.pem")), headers: { "content-type": "application/pkcs10" } }, (answer) => {
      answer.resume();
      answer.on("end", () => done(answer.statusCode));
    });
    asked.on("error", fail);
    asked.end(csr);
  });
}

test("a request waits with evidence beside its claim, is recognised by keyboard, and the device stands higher", async () => {
  const csr = request("axis-q6135");
  assert.equal(await enrol(csr), 202);
  const tab = await open(browser, hq.base, { path: "/devices/gate-cam", expected: [404] });
  await tab.signIn();
  await tab.page.getByRole("list", { name: "observed, step 1 of 6" }).waitFor();
  await tab.see("others differ");
  await tab.page.locator(".beliefs summary", { hasText: "Vendor" }).focus();
  await tab.type("Enter");
  await tab.see("Others say");
  await tab.see("Axis");
  await tab.judge("identity-observed");

  await tab.type("g", "w");
  await tab.page.getByRole("link", { name: /asks for a certificate/ }).focus();
  await tab.type("Enter");
  await tab.see("which is Axis; the wire says TP-Link");
  await tab.see("at 127.0.0.1 is gate-cam");
  await tab.judge("waiting-certificate");
  await tab.page.getByRole("radio", { name: /^It is gate-cam/ }).focus();
  await tab.type("Space", "Tab", "=I stood before it", "Enter");
  await tab.until("it is answered", async () => (await hq.must("GET", "/v1/questions?kind=certificate")).total === 0);
  assert.equal(await enrol(csr), 200);

  await tab.page.goto(`${hq.base}/devices/gate-cam`);
  await tab.page.locator('.ladder [aria-current="step"]', { hasText: "device-key" }).waitFor();
  await tab.see("by a person who recognised its request");
  assert.equal(await tab.page.locator(".ladder .reached").count(), 4);
  await tab.judge("identity-device-key");
  await tab.close();
});

test("what a device calls itself is text and nothing else", async () => {
  assert.equal(await enrol(request(HOSTILE)), 202);
  const tab = await open(browser, hq.base, { path: "/waiting" });
  await tab.signIn();
  await tab.page.getByRole("link", { name: /asks for a certificate/ }).click();
  // As RFC 4514 writes it.
  await tab.see(/CN=.*onerror/);
  assert.equal(await tab.page.locator("main img").count(), 0);
  await tab.close();
});
