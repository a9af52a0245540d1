// `./x bench console [DEVICES…]`: how quick the console is on a real controller, in a headless browser on this machine: medians. One table, or
// with `-o json` one document, as the other benches have it.

import { launch, open } from "./browser.mjs";
import { start } from "./estate.mjs";

const args = process.argv.slice(2);
const json = args.includes("-o") && args[args.indexOf("-o") + 1] === "json";
const sizes = args.filter((arg) => /^\d+$/.test(arg)).map(Number);
const RUNS = 5;

const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];
const figures = [];
const figure = (name, value, unit, bar) => {
  const at = bar === undefined ? null : { "at-most": bar };
  figures.push({ name, value: Math.round(value * 1000) / 1000, unit, peer: null, ratio: null, bar: at, met: bar === undefined ? null : value <= bar });
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
    await hq.fill(size);
    const of = (what) => `${size.toLocaleString("en")} devices: ${what}`;
    if (!json) console.error(`${of("told of")} in ${((performance.now() - begun) / 1000).toFixed(1)} s`);

    // A browser that was never here: the page, its parts, the first rows. Signed in before, so that no password is computed.
    const first = [];
    for (let run = 0; run < RUNS; run++) {
      const tab = await open(browser, hq.base);
      await tab.page.evaluate((token) => sessionStorage.setItem("ringfence.session", JSON.stringify({ token, operator: "op", login: "anna", mustChange: false })), hq.token);
      first.push(await timed(async () => {
        await tab.page.reload();
        await rows(tab);
      }));
      await tab.close();
    }
    figure(of("page to usable rows"), median(first), "ms", 1_500);

    const tab = await open(browser, hq.base, { expected: [404] });
    await tab.page.evaluate((token) => sessionStorage.setItem("ringfence.session", JSON.stringify({ token, operator: "op", login: "anna", mustChange: false })), hq.token);
    await tab.page.reload();
    await rows(tab);
    for (const l of ["type=plc,site=w2", "owner", "mac=02:00:5e:00:00:07"]) {
      const times = [];
      for (let run = 0; run < RUNS; run++) {
        times.push(await timed(() => tab.select(l)));
        await tab.type("/", "Tab", "Escape");
        await tab.until("all are there", async () => !tab.page.url().includes("l="));
        await rows(tab);
      }
      figure(of(`selector ${l}`), median(times), "ms", 1_000);
    }
    for (const q of ["cam-0000", "siematic"]) {
      const times = [];
      for (let run = 0; run < RUNS; run++) {
        times.push(await timed(() => tab.words(q)));
        await tab.type("/", "Escape");
        await tab.until("all are there", async () => !tab.page.url().includes("q="));
        await rows(tab);
      }
      figure(of(`words ${q}`), median(times), "ms", 1_000);
    }
    // Rising, falling, not: the first two are orders that somebody waits for.
    for (const [name, column] of [["Last seen", "last_seen"], ["Model", "model"]]) {
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
      figure(of(`order by ${column}`), Math.max(...times), "ms", 1_000);
    }

    // Forty rows at a time, as quick as the browser takes it: how many of the frames had a row without its device?
    const seen = await tab.page.evaluate(async () => {
      const box = document.querySelector(".grid");
      let [frames, blank, worst, at] = [0, 0, 0, -1];
      let last = performance.now();
      for (let step = 0; step < 300; step++) {
        box.scrollTop += 1_200;
        await new Promise((done) => requestAnimationFrame(done));
        const now = performance.now();
        worst = Math.max(worst, now - last);
        last = now;
        frames++;
        // Standing still because further rows are not there yet is no better than a blank one.
        const stuck = box.scrollTop === at && document.querySelector(".where").textContent.includes("are loaded");
        at = box.scrollTop;
        if (stuck || box.querySelector(".coming")) blank++;
      }
      return { frames, blank, worst };
    });
    figure(of("frames with a blank row while scrolling"), (100 * seen.blank) / seen.frames, "%", 0);
    figure(of("longest frame while scrolling"), seen.worst, "ms");

    const device = [];
    for (let run = 0; run < RUNS; run++) {
      device.push(await timed(async () => {
        await tab.page.goto(`${hq.base}/devices/camera`);
        await tab.see("What is known");
      }));
    }
    figure(of("one device"), median(device), "ms", 1_000);
    for (const [path, text] of [["/reach", "What zones may reach"], ["/proof", "Signed head"]]) {
      const times = [];
      for (let run = 0; run < RUNS; run++) {
        times.push(await timed(async () => {
          await tab.page.goto(hq.base + path);
          await tab.see(text);
        }));
      }
      figure(of(path.slice(1)), median(times), "ms", 1_000);
    }
    await tab.close();
  } finally {
    await hq.remove();
  }
}

async function rows(tab) {
  await tab.page.locator(".grid .row a").first().waitFor();
}

async function timed(work) {
  const begun = performance.now();
  await work();
  return performance.now() - begun;
}
