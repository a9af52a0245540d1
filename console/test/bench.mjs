// `./x bench console [DEVICES…]`: how quick the console is on a real controller, in a headless browser on this machine: medians. One table, or
// with `-o json` one document, as the other benches have it.

import { readFileSync } from "node:fs";
import { launch, open } from "./browser.mjs";
import { start } from "./estate.mjs";

const args = process.argv.slice(2);
const json = args.includes("-o") && args[args.indexOf("-o") + 1] === "json";
const sizes = args.filter((arg) => /^\d+$/.test(arg)).map(Number);
const RUNS = 5;
/** Up to here every screen has to be usable; beyond, the inventory. */
const EVERY_SCREEN = 50_000;

/** Where somebody goes; where and what is there when it can be used. */
const SCREENS = [
  ["device", "/devices/camera", "h2", "If somebody takes it over"],
  ["waiting", "/waiting", "h2", "What can be decided"],
  ["import", "/import", "h2", "A list of devices"],
  ["reach", "/reach", ".matrix tbody th", "w1/cameras"],
  ["reach, one question", "/reach?device=camera&service=nvr-web", ".mark", "tcp/"],
  ["reach, map", "/reach?view=map", ".map text", "w1/cameras"],
  ["reach, if taken over", "/reach?view=worst", "h2", "gets furthest"],
  ["reach, enforcement", "/reach?view=enforcement", ".entries td", "Warehouse North"],
  ["exceptions", "/exceptions", "h2", "No path is open"],
  ["proof", "/proof", ".journal td", ""],
  ["proof, one entry", "/proof/9", "main", "Verified in this browser"],
];

const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];
const figures = [];
const figure = (name, value, unit, bar) => {
  const at = bar === undefined ? null : { "at-most": bar };
  figures.push({ name, value: Math.round(value * 1000) / 1000, unit, peer: null, ratio: null, bar: at, met: bar === undefined ? null : value <= bar });
  if (!json) console.error(`  ${name}: ${Math.round(value * 10) / 10} ${unit}`);
};

const browser = await launch();
try {
  for (const size of sizes.length > 0 ? sizes : [50_000, 1_000_000]) await measure(size);
} finally {
  await browser.close();
}
if (json) {
  console.log(JSON.stringify({ bench: "console", figures }, null, 2));
} else {
  console.log("console");
  console.table(Object.fromEntries(figures.map(({ name, value, unit, bar, met }) => [name, { value, unit, bar: bar ? `≤ ${bar["at-most"]}` : "", "": met === null ? "" : met ? "met" : "MISSED" }])));
}
process.exit(figures.some(({ met }) => met === false) ? 1 : 0);

async function measure(size) {
  const hq = await start();
  try {
    await hq.setup();
    const begun = performance.now();
    await hq.crowd(size, size <= EVERY_SCREEN);
    const secs = () => ((performance.now() - begun) / 1000).toFixed(0);
    if (!json) console.error(`${size.toLocaleString("en")} devices: told of in ${secs()} s`);
    await hq.settle();
    const { total } = await hq.must("GET", "/v1/devices?limit=1&count=true");
    if (total < size) throw new Error(`the controller has ${total} of ${size} devices`);
    const resident = Number(readFileSync(`/proc/${hq.child.pid}/status`, "utf8").match(/VmRSS:\s+(\d+)/)[1]) / 1000;
    if (!json) console.error(`  ${total.toLocaleString("en")} devices decided about after ${secs()} s; the controller has ${resident.toFixed(0)} MB`);
    const of = (what) => `${size.toLocaleString("en")} devices: ${what}`;
    await firstLoad(hq, of);
    const tab = await signedIn(hq);
    await found(tab, of);
    await ordered(tab, of);
    await scrolled(tab, of);
    await jumped(hq, tab, of);
    await screens(hq, tab, of, size > EVERY_SCREEN ? undefined : 1_000);
    await tab.close();
  } finally {
    await hq.remove();
  }
}

/** Signed in before, so that no password is computed. */
async function signedIn(hq) {
  const tab = await open(browser, hq.base, { expected: [404] });
  await tab.page.evaluate((token) => sessionStorage.setItem("ringfence.session", JSON.stringify({ token, operator: "op", login: "anna", mustChange: false })), hq.token);
  return tab;
}

/** A browser that was never here: the page, its parts, the first rows. */
async function firstLoad(hq, of) {
  const times = [];
  for (let run = 0; run < RUNS; run++) {
    const tab = await signedIn(hq);
    times.push(await timed(async () => {
      await tab.page.reload();
      await rows(tab);
    }));
    await tab.close();
  }
  figure(of("page to usable rows"), median(times), "ms", 1_500);
}

async function found(tab, of) {
  await tab.page.reload();
  await rows(tab);
  const find = async (name, look, word, back) => {
    const times = [];
    for (let run = 0; run < RUNS; run++) {
      times.push(await timed(look));
      await tab.type(...back);
      await tab.until("all are there", async () => !tab.page.url().includes(word));
      await rows(tab);
    }
    figure(of(name), median(times), "ms", 1_000);
  };
  for (const l of ["type=plc,site=w2", "owner", "mac=02:00:5e:00:00:07"]) await find(`selector ${l}`, () => tab.select(l), "l=", ["/", "Tab", "Escape"]);
  for (const q of ["cam-0000", "siematic"]) await find(`words ${q}`, () => tab.words(q), "q=", ["/", "Escape"]);
}

/** Rising, falling, not: the first two are orders that somebody waits for. */
async function ordered(tab, of) {
  for (const [name, column] of [["Last seen", "last_seen"], ["Model", "model"], ["Address", "address"]]) {
    const times = [];
    for (const way of ["", "-"]) {
      times.push(await timed(async () => {
        await tab.page.getByRole("columnheader", { name }).click();
        await tab.asked("sort", `${way}${column}`);
        await tab.until("they are there", async () => (await tab.page.locator('.grid[aria-busy="false"]').count()) === 1);
      }));
    }
    await tab.page.getByRole("columnheader", { name }).click();
    await tab.until("they are by id", async () => !tab.page.url().includes("sort="));
    await rows(tab);
    figure(of(`order by ${column}, the slower of rising and falling`), Math.max(...times), "ms", 1_000);
  }
}

/** Forty rows a frame, as quick as the browser takes it: in how many frames was a row to be seen without its device? */
async function scrolled(tab, of) {
  const seen = await tab.page.evaluate(async () => {
    const box = document.querySelector(".grid");
    const { top, bottom } = box.getBoundingClientRect();
    const inView = (row) => row.getBoundingClientRect().bottom > top && row.getBoundingClientRect().top < bottom;
    let [frames, blank, worst] = [0, 0, 0];
    const begun = performance.now();
    let last = begun;
    for (let step = 0; step < 300; step++) {
      box.scrollTop += 1_200;
      await new Promise((done) => requestAnimationFrame(done));
      const now = performance.now();
      worst = Math.max(worst, now - last);
      last = now;
      frames++;
      if ([...box.querySelectorAll(".coming")].some(inView)) blank++;
    }
    return { frames, blank, worst, rate: (frames * 40_000) / (performance.now() - begun) };
  });
  figure(of("frames with a blank row, of 300 of 40 rows each"), seen.blank, "frames", 0);
  figure(of("rows a second meanwhile"), seen.rate, "rows/s");
  figure(of("longest frame meanwhile"), seen.worst, "ms");
}

/** Pulls the bar far away: until the rows there are there. */
async function jumped(hq, tab, of) {
  for (const [name, path] of [["", "/devices"], [", by last_seen, falling", "/devices?sort=-last_seen"], [", of a selector", "/devices?l=type%3Dip-camera"]]) {
    await tab.page.goto(hq.base + path);
    await rows(tab);
    await tab.until("they are counted", async () => / of [\d,]+/.test(await tab.page.locator(".where").textContent()));
    const times = await tab.page.evaluate(async () => {
      const box = document.querySelector(".grid");
      const frame = () => new Promise((done) => requestAnimationFrame(done));
      const times = [];
      for (const part of [0.37, 0.81, 0.55, 0.12, 0.93]) {
        const begun = performance.now();
        box.scrollTop = part * box.scrollHeight;
        do await frame();
        while (box.querySelector(".coming") && performance.now() - begun < 15_000);
        times.push(performance.now() - begun);
        // What is read ahead is read; the next jump is somebody's next one.
        await new Promise((done) => setTimeout(done, 700));
      }
      return times;
    });
    figure(of(`far away by the scroll bar${name}`), median(times), "ms", 1_000);
  }
}

/** Each screen by its address: until it can be used, and the slowest answer that it asked for. */
async function screens(hq, tab, of, bar) {
  let answers = [];
  tab.page.on("requestfinished", (request) => {
    if (request.url().includes("/v1/") && !request.url().endsWith("/v1/events")) answers.push(request.timing().responseEnd);
  });
  for (const [name, path, where, what] of SCREENS) {
    const [times, slowest] = [[], []];
    for (let run = 0; run < RUNS; run++) {
      answers = [];
      times.push(await timed(async () => {
        await tab.page.goto(hq.base + path);
        await drawn(tab, where, what);
      }));
      slowest.push(Math.max(0, ...answers));
    }
    figure(of(name), median(times), "ms", bar);
    figure(of(`${name}, slowest answer`), median(slowest), "ms", bar);
  }
}

function rows(tab) {
  return drawn(tab, ".grid .row a", "");
}

/** Looked for in each frame: the browser's driver looks twice a second. */
async function drawn(tab, where, what) {
  const seen = await tab.page.evaluate(async ({ where, what }) => {
    const end = performance.now() + 30_000;
    while (performance.now() < end) {
      if ([...document.querySelectorAll(where)].some((element) => element.textContent.includes(what))) return true;
      await new Promise((done) => requestAnimationFrame(done));
    }
    return false;
  }, { where, what });
  if (!seen) throw new Error(`${tab.page.url()}: “${what}” does not appear`);
}

async function timed(work) {
  const begun = performance.now();
  await work();
  return performance.now() - begun;
}
