// A real controller process with an estate, for tests and for looking at screens.

import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { mkdtempSync, readFileSync, readdirSync, rmSync, statSync } from "node:fs";
import https from "node:https";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const repository = join(dirname(fileURLToPath(import.meta.url)), "../..");
/** The program itself: the controller, and the command line. */
export const program = process.env.RINGFENCE ?? join(repository, "target/debug/ringfence");

export const PASSWORD = "correct horse battery";
const WHY = "the estate of the tests";
/** What a device may call itself; nothing of it may happen. */
export const HOSTILE = `<img src=x onerror="document.title='owned'">`;

/** Starts a controller on an empty folder, or on one that is there. `more`: further arguments. */
export async function start({ folder = mkdtempSync(join(tmpdir(), "ringfence-console-")), port = 0, more = [] } = {}) {
  const args = ["controller", "run", "--state", join(folder, "hq"), "--name", "acme.example", "--listen", `127.0.0.1:${port}`, "--line-listen", "127.0.0.1:0", ...more];
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"] });
  let said = "";
  child.stderr.on("data", (text) => (said += text));
  const ended = new Promise((done) => child.on("exit", done));
  const base = await new Promise((done, fail) => {
    child.on("error", fail);
    child.on("exit", (code) => fail(new Error(`the controller ended with ${code}: ${said}`)));
    createInterface({ input: child.stdout }).on("line", (line) => {
      const found = line.match(/https:\/\/\S+/);
      if (found && line.trim().startsWith("API")) done(found[0]);
    });
  });
  return new Estate(folder, base, child, ended);
}

export class Estate {
  token = "";

  constructor(folder, base, child, ended) {
    Object.assign(this, { folder, base, child, ended });
    this.ca = readFileSync(join(folder, "hq/pki/root.pem"));
    this.agent = new https.Agent({ ca: this.ca, keepAlive: true });
  }

  /** Asks the API, as the first operator unless another token is given. */
  async ask(method, path, body, { token = this.token, headers = {} } = {}) {
    const text = body === undefined ? undefined : JSON.stringify(body);
    const sent = { ...headers };
    if (token) sent.authorization = `Bearer ${token}`;
    if (text !== undefined) sent["content-type"] = "application/json";
    // What is sent twice is done once.
    if (method === "POST" && token) sent["idempotency-key"] ??= randomUUID();
    try {
      return await this.send(method, path, text, sent);
    } catch (error) {
      // A connection that was silent for half a minute is closed by the controller, which may be heard of only when it is used again.
      if (error.code !== "ECONNRESET" || !error.reused) throw error;
      return this.send(method, path, text, sent);
    }
  }

  send(method, path, text, sent) {
    return new Promise((done, fail) => {
      const request = https.request(new URL(path, this.base), { method, headers: sent, agent: this.agent }, (answer) => {
        const parts = [];
        answer.on("data", (part) => parts.push(part));
        answer.on("end", () => done({ status: answer.statusCode, headers: answer.headers, body: Buffer.concat(parts).toString() }));
      });
      request.on("error", (error) => fail(Object.assign(error, { reused: request.reusedSocket })));
      request.end(text);
    });
  }

  async must(method, path, body, options) {
    const answer = await this.ask(method, path, body, options);
    if (answer.status >= 300) throw new Error(`${method} ${path}: ${answer.status} ${answer.body}`);
    return answer.body ? JSON.parse(answer.body) : undefined;
  }

  /** The first operator. */
  async setup(login = "anna") {
    const secret = readFileSync(join(this.folder, "hq/setup-token"), "utf8").trim();
    const begun = await this.must("POST", "/v1/setup", { secret, login, name: "Anna", password: PASSWORD });
    this.token = begun.token;
  }

  /** Sites, teams, the sample's policy, and devices; one of them is hostile. */
  async fill(devices) {
    await this.places();
    await this.must("PUT", "/v1/policy", { files: policy(), origin: "tests", why: WHY });
    await this.report(0, devices);
  }

  /** The same for very many: the policy comes last and decides about all of them at once. `zoned`: they are in its zones, so that it grants them something. */
  async crowd(devices, zoned) {
    await this.places();
    await this.report(0, devices);
    // What concerns very many takes a second person, or this machine itself.
    const token = readFileSync(join(this.folder, "hq/host-token"), "utf8").trim();
    for (let at = 0; zoned && at < devices; at += ZONED) await this.zone(at, Math.min(at + ZONED, devices), token);
    await this.must("PUT", "/v1/policy", { files: policy(), origin: "tests", why: WHY }, { token });
  }

  async places() {
    for (const [id, name] of [["w1", "Warehouse Harbour"], ["w2", "Warehouse North"]]) await this.must("POST", "/v1/sites", { id, name, why: WHY });
    for (const [id, name] of [["video", "Loss prevention"], ["floor", "Warehouse engineering"]]) {
      await this.must("PUT", `/v1/teams/${id}`, { name, contact: `${id}@acme.example`, escalate_after_min: 60, why: WHY });
    }
  }

  /** Devices from a number on, up to another one. */
  async report(from, to) {
    for (let at = from; at < to; at += 1000) {
      const facts = Array.from({ length: Math.min(1000, to - at) }, (_, number) => device(at + number));
      for (const site of ["w1", "w2"]) {
        const told = facts.filter((one) => (Number(one.subject) % 3 === 0 ? "w2" : "w1") === site);
        if (told.length > 0) await this.must("POST", "/v1/devices/report", { site, source: "import/tests", devices: told, why: WHY });
      }
    }
  }

  /** Puts devices into zones, as people do. */
  async zone(from, to, token) {
    const zones = new Map();
    for (let n = from; n < to; n++) {
      const zone = (n % 3 === 0 ? ZONES.w2 : ZONES.w1)[n % KINDS.length];
      zones.set(zone, [...(zones.get(zone) ?? []), device(n).id]);
    }
    for (const [zone, ids] of zones) await this.must("POST", "/v1/devices/edit", { ids, set: { zone }, why: WHY }, { token });
  }

  /** Very many devices of which little is known, without a policy. */
  async bare(devices) {
    await this.must("POST", "/v1/sites", { id: "w1", name: "Warehouse Harbour", why: WHY });
    for (let at = 0; at < devices; at += 1000) {
      const told = Array.from({ length: Math.min(1000, devices - at) }, (_, number) => {
        const { said, ...known } = device(at + number);
        return { ...known, said: said.slice(0, 1) };
      });
      await this.must("POST", "/v1/devices/report", { site: "w1", source: "import/tests", devices: told, why: WHY });
    }
  }

  /** Waits until every device that was told of is decided about: the controller has caught up. */
  async settle() {
    for (let quiet = 0, before = -1; quiet < 4; ) {
      const { entries: size } = await this.must("GET", "/v1/journal");
      quiet = size === before ? quiet + 1 : 0;
      before = size;
      await new Promise((done) => setTimeout(done, 500));
    }
  }

  async stop() {
    if (this.child.exitCode === null) this.child.kill("SIGTERM");
    await this.ended;
    this.agent.destroy();
  }

  async remove() {
    await this.stop();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

const KINDS = [
  ["ip-camera", "Axon", "Dome 9", "cam", ["4.2.1", "4.1.7"]],
  ["barcode-scanner", "Zebrix", "TC-52", "scan", ["11.0.3"]],
  ["label-printer", "Prynt", "L420", "print", ["2.9", "2.8"]],
  ["plc", "Siematic", "S7-1215", "plc", ["4.5"]],
  ["temperature-sensor", "Senso", "TH-2", "temp", ["1.0"]],
];

/** So many devices have fewer in a zone than one change may concern. */
const ZONED = 40_000;
/** By site, for each kind. */
const ZONES = {
  w1: ["w1/cameras", "w1/scanners", "w1/printers", "w1/plcs", "w1/operators"],
  w2: ["w2/recorders", "w2/recorders", "w2/printers", "w2/recorders", "w2/printers"],
};

/** A device as a source tells of it; the same for the same number. */
function device(number) {
  const [type, vendor, model, prefix, firmwares] = KINDS[number % KINDS.length];
  const hex = number.toString(16).padStart(6, "0");
  const at = new Date(Date.UTC(2026, 9, 1) + number * 60_000).toISOString();
  const said = [
    ["type", type, 80],
    ["vendor", vendor, 90],
    ["model", model, number % 7 === 0 ? 40 : 85],
    ["firmware", firmwares[number % firmwares.length], 85],
    ["hostname", number === 1 ? HOSTILE : `${prefix}-${hex}`, 70],
    ["support", ["supported", "ending", "ended", "unknown"][number % 4], 80],
    ["exposure", ["none", "none", "vulnerable", "known-exploited"][number % 4], 80],
  ];
  return {
    id: `dev-${hex}`,
    subject: String(number),
    keys: [`mac/02:00:5e:${hex.match(/../g).join(":")}`],
    addresses: [`10.${(number >> 16) & 255}.${(number >> 8) & 255}.${number & 255}`],
    said: said.map(([field, value, confidence]) => ({ field, value, confidence, at })),
    first_seen: at,
    last_seen: at,
  };
}

/** The files of the sample. */
export function policy() {
  const root = join(repository, "policies/warehouse/sample");
  const files = {};
  const walk = (at) => {
    for (const name of readdirSync(at)) {
      const path = join(at, name);
      if (statSync(path).isDirectory()) walk(path);
      else files[relative(root, path)] = readFileSync(path, "utf8");
    }
  };
  walk(root);
  // The schema is not part of the sample: every folder has the same one.
  files["schema.cedarschema"] ??= readFileSync(join(repository, SCHEMA), "utf8");
  return files;
}

const SCHEMA = "crates/policy/policies/schema.cedarschema";
