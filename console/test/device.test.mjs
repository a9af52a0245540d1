// A device's flows, drawn and among what happened; and the same facts in the console and on the command line, byte for byte.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { after, before, test } from "node:test";
import { join } from "node:path";
import { launch, open } from "./browser.mjs";
import { HOSTILE, program, start } from "./estate.mjs";
import { modules } from "./modules.mjs";

const HOUR = 3_600_000;
let console_;
let hq;
let browser;

before(async () => {
  console_ = await modules();
  hq = await start();
  await hq.setup();
  await hq.fill(60);
  await hq.settle();
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await hq?.remove();
  await console_?.close();
});

/** Two days of a device that talks to a recorder every hour, and to more of them now and then. */
function telemetry(now) {
  const [begin, items, hours] = [Math.floor(now / HOUR) * HOUR, [], []];
  const at = (ms) => new Date(ms).toISOString();
  for (let n = 0; n < 49; n++) {
    const from = begin - n * HOUR;
    const row = (more) => ({ device: "camera", hour: at(from), role: "client", transport: "tcp", port: 554, first_seen: at(from), last_seen: at(from + HOUR - 60_000), flows: 1, packets_out: 100, packets_in: 50, bytes_out: 4_000_000, bytes_in: 90_000, ...more });
    items.push(row({ peer: "dev-000001", address: "10.0.0.1", protocol: "rtsp", name: HOSTILE }));
    if (n % 5 === 0) {
      items.push(row({ role: "server", address: "10.0.9.9", port: 443, bytes_out: 10 }));
      for (let port = 1; port < 4; port++) items.push(row({ role: "either", address: "192.0.2.1", transport: "udp", port, bytes_out: 5 }));
      items.push(row({ role: "others", address: undefined, transport: undefined, port: undefined, bytes_out: 1 }));
    }
    hours.push({ hour: at(from), packets_out: 100, packets_in: 50, bytes_out: 4_000_000, bytes_in: 90_000 });
  }
  return { items, hours: hours.reverse() };
}

test("sums have a place for every hour and every day, and what is not of them is left out", async () => {
  const { sums, byHour } = await console_.load("/src/screens/device/flows.ts");
  const { bytes } = await console_.load("/src/lib/size.ts");
  const now = Date.UTC(2031, 3, 5, 12, 30);
  const { items, hours } = telemetry(now);
  const by = sums(hours, "hour", now);
  assert.equal(by.at.length, 48);
  assert.ok(by.sent.every((n) => n === 4_000_000), "the 49th is left out");
  const days = sums(hours, "day", now);
  assert.equal(days.at.length, 14);
  assert.equal(days.sent.reduce((a, b) => a + b), 49 * 4_000_000);
  assert.deepEqual(sums([], "hour", now).sent.filter(Boolean), []);
  const all = byHour(items, false);
  assert.equal(all.length, 49);
  assert.equal(all[0].flows[0].port, 554, "what was most comes first");
  assert.equal(byHour(items, true).length, 48, "an hour that may go on waits for the rest of it");
  for (const [n, text] of [[0, "0"], [999, "999 B"], [1_000, "1 kB"], [1_234_567, "1.23 MB"], [99_960, "100 kB"], [999_999_999, "1 GB"]]) assert.equal(bytes(n), text);
});

test("traffic is a picture with the same as a table, and flows stand among what happened", async () => {
  const tab = await open(browser, hq.base, { path: "/devices/camera", expected: [404], height: 1400 });
  await hq.must("PATCH", "/v1/devices/camera", { set: { criticality: "high" }, why: "a walk-through" });
  const { items, hours } = telemetry(Date.now());
  await tab.page.route("**/v1/devices/camera/flows?*", (route) => {
    const query = new URL(route.request().url()).searchParams;
    const [from, limit] = [Number(query.get("page") ?? 0), Number(query.get("limit"))];
    const more = from + limit < items.length ? { next: String(from + limit) } : {};
    return route.fulfill({ json: { items: items.slice(from, from + limit), ...more, ...(from === 0 ? { hours } : {}) } });
  });
  await tab.signIn();
  await tab.page.locator(".chart canvas").waitFor();
  await tab.see("above: sent");
  const drawn = () =>
    tab.page.locator(".chart canvas").evaluate((canvas) => {
      const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", { willReadFrequently: true });
      copy.drawImage(canvas, 0, 0);
      const { data } = copy.getImageData(0, 0, canvas.width, canvas.height);
      const colours = new Map();
      for (let at = 0; at < data.length; at += 4) {
        const colour = `${data[at]},${data[at + 1]},${data[at + 2]}`;
        if (data[at + 3] === 255) colours.set(colour, (colours.get(colour) ?? 0) + 1);
      }
      return [...colours].sort((a, b) => b[1] - a[1])[0];
    });
  assert.deepEqual((await drawn())[0], "11,106,114", "in the accent of the light scheme");
  await tab.page.emulateMedia({ colorScheme: "dark", reducedMotion: "reduce" });
  await tab.until("it is drawn for the dark", async () => (await drawn())[0] === "92,196,205");
  await tab.page.emulateMedia({ colorScheme: "light", reducedMotion: "reduce" });

  // By keys, in words, and as a table.
  await tab.page.locator(".chart").focus();
  await tab.type("End", "ArrowLeft");
  await tab.see(/:00–\d\d:00: sent 4 MB, received 90 kB, 150 packets/);
  await tab.page.locator(".twin summary").focus();
  await tab.type("Enter");
  assert.equal(await tab.page.locator(".twin tbody tr").count(), 48);
  await tab.judge("device-traffic");
  await tab.type("Enter");
  await tab.page.getByRole("button", { name: "by day" }).focus();
  await tab.type("Enter");
  await tab.see("in the last 14 days");

  // What happened: all of it, then flows alone; the address keeps that.
  const first = tab.page.locator(".timeline > li");
  await tab.see("Found at w1");
  assert.ok((await first.allTextContents()).some((text) => text.includes("Granted 3 services")));
  await tab.page.getByRole("button", { name: "flows", exact: true }).focus();
  await tab.type("Enter");
  await tab.until("only flows are left", async () => (await first.allTextContents()).every((text) => text.startsWith("Talked to")));
  assert.equal(new URL(tab.page.url()).searchParams.get("only"), "flows");
  await tab.see("Talked to more than 5 peers");
  await tab.see(HOSTILE);
  assert.equal(await tab.page.locator(".timeline img").count(), 0);
  assert.equal(await first.count(), 49);
  await tab.judge("device-flows");
  await tab.page.reload();
  await tab.until("they are there again", async () => (await first.count()) === 49);
  for (const [kind, text] of [["grants", "Granted 3 services"], ["facts", "Found at w1"], ["decisions", "“a walk-through”"]]) {
    await tab.page.getByRole("button", { name: kind, exact: true }).click();
    await tab.until(`${kind} are shown`, async () => (await tab.page.locator('section[aria-labelledby="timeline"]').textContent()).includes(text));
    assert.ok((await first.allTextContents()).every((text) => !text.startsWith("Talked to")));
  }
  await tab.close();
});

test("a device of which nothing was seen says so", async () => {
  const tab = await open(browser, hq.base, { path: "/devices/dev-000002?only=flows", expected: [404] });
  await tab.signIn();
  await tab.see("Nothing that crossed the wire of its site was seen");
  await tab.see("No conversation of it was seen.");
  await tab.judge("device-no-flows");
  await tab.close();
});

/** What the command line says of what the console was told. */
function told(...args) {
  const env = { ...process.env, RINGFENCE_SERVER: hq.base, RINGFENCE_CA: join(hq.folder, "hq/pki/root.pem"), RINGFENCE_TOKEN: hq.token, RINGFENCE_CONFIG: join(hq.folder, "contexts.toml") };
  return new Promise((done, fail) => {
    execFile(program, args, { env, maxBuffer: 64 << 20 }, (error, stdout, stderr) => (error ? fail(new Error(`${args.join(" ")}: ${stderr}`)) : done(stdout)));
  });
}

test("the console and the command line have the same facts, byte for byte", async () => {
  const tab = await open(browser, hq.base, { expected: [404] });
  const answers = new Map();
  await tab.page.route(/\/v1\/(?!events)/, async (route) => {
    const { pathname, search } = new URL(route.request().url());
    const response = await route.fetch();
    const bytes = await response.body();
    if (route.request().method() === "GET" && response.status() === 200) answers.set(pathname + search, bytes.toString());
    await route.fulfill({ response, body: bytes });
  });
  await tab.signIn();
  await tab.page.locator(".grid .row a").first().waitFor();
  for (const [path, what] of [["/devices/camera", "If somebody takes it over"], ["/reach?view=worst", "From these devices somebody gets furthest"], ["/reach?view=enforcement", "Warehouse Harbour"]]) {
    await tab.page.goto(hq.base + path);
    await tab.see(what);
  }
  await tab.until("all was asked for", () => ["/v1/devices?", "/v1/devices/camera", "/v1/decisions/", "/v1/sites?", "/v1/reach/devices/camera", "/v1/reach/worst"].every((path) => [...answers.keys()].some((key) => key.startsWith(path))));
  const shown = (path) => answers.get([...answers.keys()].find((key) => (path instanceof RegExp ? path.test(key) : key === path)));
  // The controller's bytes are those of their JSON: what is laid out anew has the same.
  for (const [path, text] of answers) assert.equal(JSON.stringify(JSON.parse(text)), text, path);
  const one = (text) => `${JSON.stringify(JSON.parse(text), null, 2)}\n`;
  const list = (text) => `[\n  ${JSON.parse(text).items.map((item) => JSON.stringify(item)).join(",\n  ")}\n]\n`;
  // Of when an answer is that is made for the question: the moment of it.
  const timeless = (text) => text.replace(/("as_of":\s*\{\s*"at":\s*)"[^"]*"/, '$1"…"');

  const device = shown("/v1/devices/camera");
  assert.equal(await told("get", "device", "camera", "-o", "jsonl"), `${device}\n`);
  assert.equal(await told("get", "device", "camera", "-o", "json"), one(device));
  assert.equal(await told("get", "devices", "-o", "json"), list(shown(/^\/v1\/devices\?.*limit=200/)));
  assert.equal(await told("get", "sites", "-o", "json"), list(shown(/^\/v1\/sites(\?|$)/)));
  assert.equal(await told("get", "leases", "camera", "-o", "json"), list(shown(/^\/v1\/leases\?device=camera/)));
  assert.equal(await told("explain", "camera", "-o", "json"), one(shown(/^\/v1\/decisions\/[^/]+$/)));
  assert.equal(timeless(await told("get", "reach", "camera", "-o", "json")), timeless(one(shown("/v1/reach/devices/camera"))));
  assert.equal(timeless(await told("get", "reach", "-o", "json")), timeless(one(shown("/v1/reach/worst"))));
  await tab.close();
});
