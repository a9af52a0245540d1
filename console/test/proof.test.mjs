// What the browser judges of a proof: every tree up to a size, and everything that is not what was signed.

import assert from "node:assert/strict";
import { createHash, generateKeyPairSync, sign } from "node:crypto";
import { after, before, test } from "node:test";
import { modules } from "./modules.mjs";

let console_;
let merkle;
let note;
let entries;
let verify;

before(async () => {
  console_ = await modules();
  merkle = await console_.load("/src/proof/merkle.ts");
  note = await console_.load("/src/proof/note.ts");
  entries = await console_.load("/src/proof/entry.ts");
  ({ verify } = await console_.load("/src/proof/verify.ts"));
});

after(() => console_?.close());

const sha = (...parts) => parts.reduce((hash, part) => hash.update(part), createHash("sha256")).digest();

/** RFC 9162, section 2.1.1, as it is written there. */
function root(leaves) {
  if (leaves.length === 1) return sha(Buffer.of(0), leaves[0]);
  const k = half(leaves.length);
  return sha(Buffer.of(1), root(leaves.slice(0, k)), root(leaves.slice(k)));
}

/** Section 2.1.3.1. */
function path(number, leaves) {
  if (leaves.length === 1) return [];
  const k = half(leaves.length);
  return number < k ? [...path(number, leaves.slice(0, k)), root(leaves.slice(k))] : [...path(number - k, leaves.slice(k)), root(leaves.slice(0, k))];
}

function half(n) {
  let k = 1;
  while (k * 2 < n) k *= 2;
  return k;
}

const bytes = (buffer) => new Uint8Array(buffer);
const tree = (size) => Array.from({ length: size }, (_, n) => Buffer.from(`entry ${n}`));

test("every entry of every tree is found in it, and nowhere else", async () => {
  for (let size = 1; size <= 33; size++) {
    const leaves = tree(size);
    const expected = bytes(root(leaves));
    for (let number = 0; number < size; number++) {
      const hash = await merkle.leaf(bytes(leaves[number]));
      const beside = path(number, leaves).map(bytes);
      assert.deepEqual(await merkle.root(hash, BigInt(number), BigInt(size), beside), expected, `${number} of ${size}`);
      // Another place, another size, a hash less or more: another root, or none.
      for (const [n, s, p] of [
        [number + 1, size, beside],
        [number, size + 1, beside],
        ...(beside.length > 0 ? [[number, size, beside.slice(1)]] : []),
        [number, size, [...beside, expected]],
      ]) {
        const other = await merkle.root(hash, BigInt(n), BigInt(s), p);
        // The same hashes may lead up a tree of another size too; its root is signed with its size.
        if (other !== null && s === size) assert.notDeepEqual(other, expected, `${n} of ${s}, not ${number} of ${size}`);
      }
    }
  }
});

test("an entry is read whole, or not at all", () => {
  const written = entryBytes("because of ticket 17");
  const read = entries.read(bytes(written));
  assert.equal(read.who, "person/op-1");
  assert.equal(read.why, "because of ticket 17");
  assert.equal(read.at, 1_700_000_000_000_000_000n);
  assert.deepEqual(read.events.map(({ name, version }) => [name, version]), [["device.found", 1n]]);
  for (let length = 0; length < written.length; length++) assert.throws(() => entries.read(bytes(written.subarray(0, length))), undefined, `${length} bytes`);
  assert.throws(() => entries.read(bytes(Buffer.concat([written, Buffer.of(0)]))), /after the entry/);
  // An array that says that it is longer than all memory.
  assert.throws(() => entries.read(bytes(Buffer.of(0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff))), /too long/);
  assert.throws(() => entries.read(bytes(Buffer.alloc(64, 0x81))), /too deep/);
});

test("a proof holds, and a changed byte anywhere in it does not", async () => {
  const { proof, vkey } = proved(5, 11);
  const good = await verify(5, proof, vkey);
  assert.deepEqual([good.holds, good.steps.map(({ holds }) => holds)], [true, [true, true, true]]);
  assert.equal(good.entry.why, "entry 5");

  const flipped = (text) => {
    const raw = Buffer.from(text, "base64");
    raw[raw.length >> 1] ^= 1;
    return raw.toString("base64");
  };
  const lines = proof.checkpoint.split("\n");
  const head = (change) => ({ checkpoint: change([...lines]).join("\n") });
  for (const [what, changed] of [
    ["the entry", { entry: flipped(proof.entry) }],
    ["a hash", { path: proof.path.map((hash, n) => (n === 1 ? flipped(hash) : hash)) }],
    ["a hash less", { path: proof.path.slice(1) }],
    ["the root", head((l) => ((l[2] = flipped(l[2])), l))],
    ["the size", head((l) => ((l[1] = "12"), l))],
    ["the origin", head((l) => ((l[0] = "other.example/journal"), l))],
    ["the signature", head((l) => ((l[4] = l[4].replace(/(\S+)$/, (all) => flipped(all))), l))],
    ["no signature", head((l) => l.slice(0, 4).concat(""))],
    ["no head", { checkpoint: "" }],
  ]) {
    const judged = await verify(5, { ...proof, ...changed }, vkey);
    assert.equal(judged.holds, false, what);
  }
  assert.equal((await verify(4, proof, vkey)).holds, false, "another number");
  assert.equal((await verify(5, proof, proved(5, 11).vkey)).holds, false, "another log's key");
});

test("a key whose id is not its own is none", async () => {
  const { vkey } = proved(0, 1);
  assert.ok(await note.key(vkey));
  assert.equal(await note.key(vkey.replace(/\+[0-9a-f]{8}\+/, "+00000000+")), null);
  assert.equal(await note.key("no key"), null);
});

/** An entry, a tree, a signed head: made here, with node's own cryptography. */
function proved(number, size) {
  const leaves = Array.from({ length: size }, (_, n) => entryBytes(`entry ${n}`));
  const name = "acme.example/journal";
  const { publicKey, privateKey } = generateKeyPairSync("ed25519");
  const key = Buffer.concat([Buffer.of(1), publicKey.export({ format: "der", type: "spki" }).subarray(-32)]);
  const id = sha(`${name}\n`, key).subarray(0, 4);
  const text = `${name}\n${size}\n${root(leaves).toString("base64")}\n`;
  const signature = Buffer.concat([id, sign(null, Buffer.from(text), privateKey)]).toString("base64");
  return {
    vkey: `${name}+${id.toString("hex")}+${key.toString("base64")}`,
    proof: {
      number,
      size,
      root: "",
      tlog_proof: "",
      entry: leaves[number].toString("base64"),
      path: path(number, leaves).map((hash) => hash.toString("base64")),
      checkpoint: `${text}\n— ${name} ${signature}\n`,
    },
  };
}

/** `[1, at, [kind, id], typed, why, [], [typed]]` in CBOR (RFC 8949). */
function entryBytes(why) {
  const text = (value) => Buffer.concat([Buffer.of(0x78, Buffer.byteLength(value)), Buffer.from(value)]);
  const typed = (name, payload) => Buffer.concat([Buffer.of(0x83), text(name), Buffer.of(1, 0x58, payload.length), Buffer.from(payload)]);
  const at = Buffer.alloc(9);
  at[0] = 0x1b;
  at.writeBigUInt64BE(1_700_000_000_000_000_000n, 1);
  return Buffer.concat([Buffer.of(0x87, 1), at, Buffer.of(0x82), text("person"), text("op-1"), typed("device", "{}"), text(why), Buffer.of(0x80, 0x81), typed("device.found", '{"id":"x"}')]);
}
