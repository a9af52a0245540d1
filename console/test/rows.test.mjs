// The rows of a long list, against an estate that changes while somebody looks.

import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { modules } from "./modules.mjs";

let console_;
let Rows;
/** Ids of the estate, in order. */
let estate;
let asked;
let broken;
let counted;
/** Ids in the order that is asked for. */
const order = (query) => (query.get("sort") === "-id" ? [...estate].reverse() : estate);

before(async () => {
  console_ = await modules();
  ({ Rows } = await console_.load("/src/screens/inventory/rows.ts"));
});

after(() => console_?.close());

beforeEach(() => {
  estate = [];
  asked = [];
  broken = false;
  counted = 0;
  globalThis.fetch = async (url, { signal }) => {
    await new Promise((done) => setTimeout(done, 1));
    signal?.throwIfAborted();
    if (broken) throw new TypeError("no answer");
    const query = new URL(url, "https://hq.example").searchParams;
    if (query.get("count") && query.get("offset") === null) {
      counted++;
      return Response.json({ items: [], total: estate.length });
    }
    asked.push(query);
    const limit = Number(query.get("limit"));
    const at = query.get("offset");
    if (at !== null) {
      assert.equal(query.get("page"), null, "not both");
      const from = Math.min(Number(at), estate.length);
      const items = order(query).slice(from, from + limit).map((id) => ({ id }));
      const here = order(query)[from - 1];
      return Response.json({ items, total: estate.length, ...(from > 0 ? { here } : {}), ...(from + limit < estate.length ? { next: items.at(-1).id } : {}) });
    }
    const after = query.get("page");
    // A page begins after a place, not after a row: the row may be elsewhere by now.
    const falling = query.get("sort") === "-id";
    const left = order(query).filter((id) => after === null || (falling ? id < after : id > after));
    const items = left.slice(0, limit).map((id) => ({ id }));
    return Response.json({ items, ...(left.length > limit ? { next: items.at(-1).id } : {}) });
  };
});

const name = (n) => `dev-${String(n).padStart(6, "0")}`;
const fill = (n) => Array.from({ length: n }, (_, number) => name(number * 10));

const ALL = { l: "", where: "", q: "", sort: "" };

function start(query = ALL) {
  let rows;
  const made = new Promise((told) => {
    rows = new Rows(query, told);
  });
  rows.start();
  return made.then(() => rows);
}

async function settled(rows) {
  for (let quiet = 0, version = -1; quiet < 5; ) {
    quiet = rows.standing.version === version ? quiet + 1 : 0;
    version = rows.standing.version;
    await new Promise((done) => setTimeout(done, 8));
  }
}

const ids = (rows, from, to) => Array.from({ length: to - from }, (_, n) => rows.row(from + n)?.id);

test("an empty estate is complete at once", async () => {
  const rows = await start();
  assert.deepEqual([rows.standing.length, rows.standing.complete], [0, true]);
});

test("rows are read ahead of where somebody looks, and no further", async () => {
  estate = fill(40_000);
  const rows = await start();
  await settled(rows);
  assert.deepEqual([rows.standing.length, rows.standing.complete], [40_000, false]);
  const held = () => estate.filter((_, at) => rows.row(at)).length;
  assert.ok(held() >= 1_200 && held() < 2_000, `${held()}`);
  for (let at = 0; at < 38_000; at += 1_000) {
    rows.want(at, at + 40);
    await settled(rows);
    assert.deepEqual(ids(rows, at, at + 200), estate.slice(at, at + 200));
  }
  assert.ok(asked.every((query) => query.get("offset") === null), "whoever goes on needs no numbers");
  rows.want(39_960, 40_000);
  await settled(rows);
  assert.equal(rows.standing.complete, true);
  // What is far behind was let go, and comes back.
  assert.equal(rows.row(0), undefined);
  rows.want(0, 40);
  await settled(rows);
  assert.deepEqual(ids(rows, 0, 40), estate.slice(0, 40));
  rows.end();
});

test("what is new appears in its place, and nothing else moves to another page", async () => {
  estate = fill(1_000);
  const rows = await start();
  rows.want(0, 1_000);
  await settled(rows);
  assert.equal(rows.standing.length, 1_000);
  estate.splice(6, 0, name(55));
  rows.want(0, 40);
  rows.refresh();
  await new Promise((done) => setTimeout(done, 800));
  await settled(rows);
  assert.deepEqual(ids(rows, 0, 40), estate.slice(0, 40));
  rows.want(0, 1_001);
  await settled(rows);
  assert.deepEqual(ids(rows, 0, 1_001), estate);
  rows.end();
});

test("what is gone is gone, also the row that a page ended with", async () => {
  estate = fill(1_000);
  const rows = await start();
  rows.want(0, 1_000);
  await settled(rows);
  estate = estate.filter((id, at) => at !== 199 && at !== 3);
  rows.refresh();
  await new Promise((done) => setTimeout(done, 800));
  await settled(rows);
  rows.want(0, 998);
  await settled(rows);
  assert.deepEqual(ids(rows, 0, 998), estate);
  assert.equal(rows.standing.length, 998);
  rows.end();
});

test("a far place is gone to at once, and only what is around it is read", async () => {
  estate = fill(100_000);
  const rows = await start();
  await settled(rows);
  const read = () => asked.reduce((sum, query) => sum + Number(query.get("limit")), 0);
  for (const at of [70_000, 12_345, 99_960, 50_000, 300]) {
    asked = [];
    rows.want(at, at + 40);
    await new Promise((done) => setTimeout(done, 40));
    assert.deepEqual(ids(rows, at, at + 40), estate.slice(at, at + 40), `${at}`);
    await settled(rows);
    assert.ok(read() <= 3_000, `${at}: ${read()} rows`);
    assert.deepEqual(ids(rows, Math.max(0, at - 150), at + 1_000), Array.from({ length: Math.min(at, 150) + 1_000 }, (_, n) => estate[Math.max(0, at - 150) + n]));
  }
  assert.equal(rows.standing.length, 100_000);
  rows.end();
});

test("wherever somebody goes, every row is its own, and gaps close without one twice", async () => {
  estate = fill(6_000);
  const rows = await start();
  await settled(rows);
  let seed = 7;
  const random = (n) => (seed = (seed * 48_271) % 2_147_483_647) % n;
  for (let step = 0; step < 120; step++) {
    const at = random(3) === 0 ? Math.max(0, rows.wanted[0] - random(400)) : random(6_000);
    rows.want(at, Math.min(6_000, at + 40));
    await settled(rows);
    assert.equal(rows.standing.length, 6_000);
    assert.deepEqual(ids(rows, at, Math.min(6_000, at + 40)), estate.slice(at, at + 40), `${at}`);
  }
  for (let at = 0; at < 6_000; at += 600) {
    rows.want(at, at + 600);
    await settled(rows);
  }
  assert.deepEqual(ids(rows, 0, 6_000), estate);
  assert.deepEqual([rows.standing.complete, rows.standing.total], [true, 6_000]);
  rows.end();
});

test("what changes anywhere while somebody looks far in leaves what is shown as it is", async () => {
  estate = fill(20_000);
  const rows = await start();
  await settled(rows);
  rows.want(10_000, 10_040);
  await settled(rows);
  const shown = ids(rows, 10_000, 10_040);
  let seed = 3;
  const random = (n) => (seed = (seed * 48_271) % 2_147_483_647) % n;
  for (let round = 0; round < 4; round++) {
    // New ones and gone ones in front, and behind.
    for (let n = 0; n < 50; n++) {
      const at = random(estate.length);
      if (Math.abs(estate.indexOf(shown[0]) - at) < 200) continue;
      if (n % 2) estate.splice(at, 1);
      else estate.splice(at + 1, 0, `${estate[at]}-${round}`);
    }
    rows.refresh();
    await new Promise((done) => setTimeout(done, 800));
    await settled(rows);
    assert.deepEqual(ids(rows, 10_000, 10_040), shown, "nothing jumps");
  }
  // Going back through all of it meets every one, once.
  for (let at = 10_000; at >= 0; at -= 300) {
    rows.want(at, at + 40);
    await settled(rows);
  }
  rows.want(0, 40);
  await settled(rows);
  rows.refresh();
  await new Promise((done) => setTimeout(done, 800));
  await settled(rows);
  const all = ids(rows, 0, 8_000).filter(Boolean);
  assert.equal(new Set(all).size, all.length, "none is there twice");
  assert.deepEqual(ids(rows, 0, 40), estate.slice(0, 40));
  rows.end();
});

test("a list that has become shorter ends where it ends", async () => {
  estate = fill(20_000);
  const rows = await start();
  await settled(rows);
  estate = estate.slice(0, 900);
  rows.want(19_900, 19_940);
  await settled(rows);
  rows.want(860, 900);
  await settled(rows);
  assert.deepEqual([rows.standing.length, rows.standing.complete], [900, true]);
  assert.deepEqual(ids(rows, 860, 900), estate.slice(860));
  rows.end();
});

test("they are counted without anybody waiting for it, and the count is not below what is there", async () => {
  estate = fill(5_000);
  const rows = await start();
  await settled(rows);
  assert.deepEqual([rows.standing.total, rows.standing.length], [5_000, 5_000], "all are drawn, most as coming");
  rows.end();
});

test("in another order the list goes on where its pages began, whatever moves", async () => {
  estate = fill(1_000);
  const rows = await start({ ...ALL, sort: "-id" });
  rows.want(0, 1_000);
  await settled(rows);
  assert.deepEqual(ids(rows, 0, 1_000), [...estate].reverse());
  // The row that the first page ended with is at the beginning of the list now.
  const [moved] = estate.splice(estate.length - 200, 1);
  estate.push(`${moved.replace("dev-", "dev-9")}`);
  rows.want(0, 400);
  rows.refresh();
  await new Promise((done) => setTimeout(done, 800));
  await settled(rows);
  rows.want(0, 1_000);
  await settled(rows);
  assert.deepEqual(ids(rows, 0, 1_000), [...estate].reverse());
  rows.end();
});

test("a failure is told, what was there stays, and it goes on", async () => {
  estate = fill(5_000);
  const rows = await start();
  await settled(rows);
  broken = true;
  rows.want(3_000, 3_040);
  await settled(rows);
  assert.equal(rows.standing.problem?.code, "console.unreachable");
  assert.equal(rows.row(0)?.id, estate[0]);
  broken = false;
  rows.retry();
  await settled(rows);
  assert.equal(rows.standing.problem, null);
  assert.deepEqual(ids(rows, 3_000, 3_040), estate.slice(3_000, 3_040));
  rows.end();
});

test("a thousand changes a second are not a thousand questions", async () => {
  estate = fill(200);
  const rows = await start();
  await settled(rows);
  const before = asked.length;
  for (let n = 0; n < 1_000; n++) {
    rows.refresh();
    if (n % 50 === 0) await new Promise((done) => setTimeout(done, 50));
  }
  await settled(rows);
  assert.ok(asked.length - before <= 3, `${asked.length - before}`);
  assert.ok(counted <= 2, `counted ${counted} times`);
  rows.end();
});
