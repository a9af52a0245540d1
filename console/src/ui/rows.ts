// Rows of one height, of which only those in view are in the page, however many there are.

import { useCallback, useLayoutEffect, useRef, useState, type RefObject } from "react";
import { flushSync } from "react-dom";
import { Lens } from "../lib/lens";

/** Rows that are drawn before and after those in view. */
const MORE = 12;

export interface InView {
  box: RefObject<HTMLDivElement | null>;
  /** Of what is scrolled, without its head (px). */
  height: number;
  items: { index: number; y: number }[];
  /** Rows that are to be seen: the first, and the one after the last. */
  seen: [number, number];
  show: (index: number) => void;
}

/** `head`: height of what stands above the rows and stays (px). */
export function useRowsInView(count: number, row: number, head = 0): InView {
  const box = useRef<HTMLDivElement>(null);
  const lens = useRef(new Lens());
  const [at, setAt] = useState({ offset: 0, top: 0, view: 0 });
  const total = count * row + head;

  const put = useCallback((element: HTMLElement, { offset, at }: { offset: number; at: number }) => {
    if (Math.abs(element.scrollTop - at) >= 1) element.scrollTop = at;
    const view = element.clientHeight;
    setAt((before) => (before.offset === offset && before.top === at && before.view === view ? before : { offset, top: at, view }));
  }, []);

  useLayoutEffect(() => {
    const element = box.current;
    if (!element) return;
    const look = () => put(element, lens.current.moved(element.scrollTop, element.clientHeight, total));
    // Drawn before the browser shows what was scrolled to: no row is blank because its turn had not come.
    const scrolled = () => flushSync(look);
    element.addEventListener("scroll", scrolled, { passive: true });
    const sized = new ResizeObserver(look);
    sized.observe(element);
    look();
    return () => {
      element.removeEventListener("scroll", scrolled);
      sized.disconnect();
    };
  }, [total, put]);

  const show = (index: number) => {
    const element = box.current;
    if (!element) return;
    const { offset, view } = at;
    const [begin, end] = [index * row, (index + 1) * row + head];
    if (begin < offset) put(element, lens.current.to(begin, view, total));
    else if (end > offset + view) put(element, lens.current.to(end - view, view, total));
  };

  const first = Math.floor(at.offset / row);
  const last = Math.min(count, Math.ceil((at.offset + at.view - head) / row));
  const items = [];
  for (let index = Math.max(0, first - MORE); index < Math.min(count, last + MORE); index++) items.push({ index, y: index * row - (at.offset - at.top) });
  return { box, height: lens.current.height(total) - head, items, seen: [first, Math.max(first, last)], show };
}
