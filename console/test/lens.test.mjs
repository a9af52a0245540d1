// A list that is higher than a browser can scroll: every row can be reached, and nothing jumps.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { modules } from "./modules.mjs";

let console_;
let Lens;
let HEIGHT_MAX;

before(async () => {
  console_ = await modules();
  ({ Lens, HEIGHT_MAX } = await console_.load("/src/lib/lens.ts"));
});

after(() => console_?.close());

const VIEW = 800;
/** A million rows of 38 px. */
const TOTAL = 38_000_032;

/** A box that scrolls as a browser does. */
function box(total) {
  const lens = new Lens();
  let top = 0;
  const scroll = (to) => {
    top = Math.max(0, Math.min(lens.height(total) - VIEW, to));
    const { offset, at } = lens.moved(top, VIEW, total);
    top = at;
    return offset;
  };
  return { lens, by: (px) => scroll(top + px), pull: scroll, top: () => top, show: (offset) => (top = lens.to(offset, VIEW, total).at) };
}

test("a list that a browser can scroll is scrolled by it", () => {
  const it = box(100_000);
  assert.equal(it.lens.height(100_000), 100_000);
  for (const to of [0, 700, 55_555, 99_200]) assert.equal(it.pull(to), to);
});

test("small steps go on pixel by pixel, from one end to the other and back", () => {
  const it = box(TOTAL);
  const end = TOTAL - VIEW;
  let offset = 0;
  for (let wanted = 0; wanted < end; ) {
    wanted = Math.min(end, wanted + 1_200);
    offset = it.by(1_200);
    assert.ok(Math.abs(offset - wanted) <= 1, `${offset} instead of ${wanted}`);
    assert.ok(it.top() >= 0 && it.top() <= HEIGHT_MAX - VIEW);
    wanted = offset;
  }
  assert.equal(offset, end);
  for (let wanted = end; wanted > 0; ) {
    wanted = Math.max(0, wanted - 1_200);
    offset = it.by(-1_200);
    assert.ok(Math.abs(offset - wanted) <= 1, `${offset} instead of ${wanted}`);
    wanted = offset;
  }
  assert.equal(offset, 0);
  assert.equal(it.top(), 0);
});

test("pulling the bar goes as far as the bar is pulled", () => {
  const it = box(TOTAL);
  const way = HEIGHT_MAX - VIEW;
  assert.equal(it.pull(way), TOTAL - VIEW);
  assert.equal(it.pull(0), 0);
  const half = it.pull(way / 2);
  assert.ok(Math.abs(half / (TOTAL - VIEW) - 0.5) < 0.001, `${half}`);
  assert.equal(it.by(30), half + 30);
  // Elsewhere too the bar stands about where one is.
  for (const part of [0.2, 0.35, 0.65, 0.8]) {
    const at = it.pull(way * part) / (TOTAL - VIEW);
    assert.ok(Math.abs(at - part) < 0.05, `${part}: ${at}`);
  }
});

test("a row is gone to exactly, and the next one is below it", () => {
  const it = box(TOTAL);
  for (const row of [0, 1, 70_000, 499_999, 940_000, 999_999]) {
    it.show(row * 38);
    const offset = it.by(0);
    assert.ok(Math.abs(offset - Math.min(row * 38, TOTAL - VIEW)) <= 1, `${row}: ${offset}`);
  }
});

test("what grows at its end while somebody stands there goes on", () => {
  const lens = new Lens();
  let total = HEIGHT_MAX;
  let top = lens.to(total, VIEW, total).at;
  assert.equal(top, HEIGHT_MAX - VIEW);
  const { offset } = lens.moved(top, VIEW, total);
  total += 20_000;
  const after = lens.moved(top, VIEW, total);
  assert.equal(after.offset, offset, "what is in view stays");
  assert.ok(after.at < top, "and there is a way further");
});
