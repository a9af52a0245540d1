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
    if (query.get("count")) {
      counted++;
      return Response.json({ items: [], total: estate.length });
    }
    asked.push(query);
    const after = query.get("page");
    const limit = Number(query.get("limit"));
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
  estate = fill(30_000);
  const rows = await start();
  await settled(rows);
  assert.ok(rows.standing.length >= 600 && rows.standing.length < 1_200, `${rows.standing.length}`);
  assert.equal(rows.standing.complete, false);
  for (let at = 0; at < 28_000; at = rows.standing.length - 40) {
    rows.want(at, at + 40);
    await settled(rows);
    assert.deepEqual(ids(rows, at, at + 40), estate.slice(at, at + 40));
  }
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

test("they are counted without anybody waiting for it, and the count is not below what is there", async () => {
  estate = fill(5_000);
  const rows = await start();
  await settled(rows);
  assert.equal(rows.standing.total, 5_000);
  assert.equal(rows.drawn - rows.standing.length, 40, "some are drawn as coming");
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
  const before = rows.standing.length;
  broken = true;
  rows.want(before - 40, before);
  await settled(rows);
  assert.equal(rows.standing.problem?.code, "console.unreachable");
  assert.equal(rows.row(0)?.id, estate[0]);
  broken = false;
  rows.retry();
  await settled(rows);
  assert.equal(rows.standing.problem, null);
  assert.ok(rows.standing.length > before);
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
