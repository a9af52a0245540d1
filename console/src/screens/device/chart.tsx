// What a device sent and received over time: sent stands above the line, received below it, so that colour is not needed to tell them apart.
// The pointer or the arrow keys choose a column, which is told in words.

import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { useEffect, useRef, type KeyboardEvent } from "react";
import { settings } from "../../lib/settings";
import { bytes } from "../../lib/size";
import type { Sums } from "./flows";

const HEIGHT = 164;

/** `onChoose`: the column that is pointed at; `null`: none. */
export default function Chart({ sums, label, onChoose }: { sums: Sums; label: string; onChoose: (column: number | null) => void }) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const choose = useRef(onChoose);
  choose.current = onChoose;
  const kept = useRef(sums);
  kept.current = sums;

  useEffect(() => {
    const element = box.current;
    if (!element) return;
    const made = new uPlot(options(element, (column) => choose.current(column)), data(kept.current), element);
    plot.current = made;
    const sized = new ResizeObserver(() => made.setSize({ width: element.clientWidth, height: HEIGHT }));
    sized.observe(element);
    // Colours are asked for with each drawing.
    const draw = () => requestAnimationFrame(() => plot.current?.redraw());
    const scheme = matchMedia("(prefers-color-scheme: dark)");
    scheme.addEventListener("change", draw);
    const silent = settings.subscribe(draw);
    return () => {
      silent();
      scheme.removeEventListener("change", draw);
      sized.disconnect();
      plot.current = null;
      made.destroy();
    };
  }, []);
  useEffect(() => plot.current?.setData(data(sums)), [sums]);

  const keys = (event: KeyboardEvent) => {
    const made = plot.current;
    const way = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity }[event.key];
    if (!made || way === undefined) return;
    event.preventDefault();
    const last = sums.at.length - 1;
    const column = Math.max(0, Math.min(last, (made.cursor.idx ?? (way < 0 ? last + 1 : -1)) + way));
    made.setCursor({ left: made.valToPos((sums.at[column] ?? 0) + step(sums.at) / 2, "x"), top: 0 });
  };
  return (
    <div className="chart" role="img" aria-label={label} tabIndex={0} onKeyDown={keys}>
      <div ref={box} />
    </div>
  );
}

/** A column stands in the middle of its time. */
function data({ at, sent, received }: Sums): uPlot.AlignedData {
  const half = step(at) / 2;
  return [at.map((from) => from + half), sent, received.map((n) => -n)];
}

/** Seconds of a column. */
function step(at: number[]): number {
  return (at.at(-1) ?? 0) - (at.at(-2) ?? 0);
}

/** The next of 1, 2, 5, 10, 20… */
function round(n: number): number {
  const power = 10 ** Math.floor(Math.log10(Math.max(1, n)));
  return power * ([1, 2, 5, 10].find((m) => m * power >= n) ?? 10);
}

/** What a colour of the style sheet is here and now: a canvas knows no custom properties. */
function colour(element: HTMLElement, name: string): string {
  const probe = document.createElement("span");
  probe.className = `ink-${name}`;
  element.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

/** By how far two marks are apart (s): what stands at one, and below it where the day or the year is another. */
const TIMES: (string | number | null)[][] = [
  [86_400, "{D} {MMM}", "\n{YYYY}", null, null, null, null, null, 1],
  [60, "{HH}:{mm}", "\n{D} {MMM}", null, "\n{D} {MMM}", null, null, null, 1],
];

function options(element: HTMLElement, choose: (column: number | null) => void): uPlot.Options {
  const of = (name: string) => () => colour(element, name);
  const font = "11px Inter, sans-serif";
  const bars = uPlot.paths.bars?.({ size: [0.7, 24] });
  const series = (label: string, name: string): uPlot.Series => ({ label, stroke: of(name), fill: of(name), width: 0, points: { show: false }, ...(bars ? { paths: bars } : {}) });
  const line = { stroke: of("line"), width: 1 };
  return {
    width: element.clientWidth,
    height: HEIGHT,
    legend: { show: false },
    padding: [8, 24, 0, 0],
    cursor: { y: false, points: { show: false }, drag: { x: false, y: false } },
    scales: {
      x: {
        range: ({ data: [at] }) => {
          const half = step(at as number[]) / 2;
          return [(at[0] ?? 0) - half, (at.at(-1) ?? 0) + half];
        },
      },
      y: { range: (_, low, high) => (low || high ? [-round(-(low ?? 0)), round(high ?? 0)] : [-1, 1]) },
    },
    axes: [
      { stroke: of("soft"), font, grid: { show: false }, ticks: line, size: 46, values: TIMES },
      { stroke: of("soft"), font, grid: line, ticks: { show: false }, size: 64, splits: (_, __, low, high) => [low, 0, high].filter((n) => n === 0 || Math.abs(n) > (high - low) / 6), values: (_, splits) => splits.map((n) => bytes(Math.abs(n))) },
    ],
    series: [{}, series("sent", "accent"), series("received", "faint")],
    hooks: { setCursor: [(made) => choose(made.cursor.idx ?? null)] },
  };
}
