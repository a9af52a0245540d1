// Rows of one height, of which only those in view are in the page, however many there are: TanStack Virtual's, looked at through a lens where
// the list is higher than a browser can scroll.

import { useVirtualizer, type Virtualizer } from "@tanstack/react-virtual";
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
  /** What the list is ahead of the box: it changes when the lens moves the box under what is in view. */
  const [ahead, setAhead] = useState(0);
  const total = count * row + head;
  const now = useRef({ total, tell: (_offset: number) => {} });
  now.current.total = total;

  /** The box stands where the lens wants it, and the rows are told what is in view. */
  const put = useCallback(({ offset, at }: { offset: number; at: number }) => {
    const element = box.current;
    if (element && Math.abs(element.scrollTop - at) >= 1) element.scrollTop = at;
    setAhead(offset - at);
    now.current.tell(offset);
  }, []);
  const look = useCallback(() => {
    const element = box.current;
    if (element) put(lens.current.moved(element.scrollTop, element.clientHeight, now.current.total));
  }, [put]);
  const to = (offset: number) => put(lens.current.to(offset, box.current?.clientHeight ?? 0, now.current.total));

  const rows = useVirtualizer<HTMLDivElement, HTMLElement>({
    count,
    getScrollElement: () => box.current,
    estimateSize: () => row,
    // Another function for another height: sizes are asked for anew.
    getItemKey: useCallback((index: number) => index, [row]),
    overscan: MORE,
    observeElementRect: (of, tell) => observeRect(of, head, tell),
    observeElementOffset: (of, tell) => {
      const element = of.scrollElement;
      if (!element) return;
      now.current.tell = (offset) => tell(offset, false);
      // Drawn before the browser shows what was scrolled to: no row is blank because its turn had not come.
      const scrolled = () => flushSync(look);
      element.addEventListener("scroll", scrolled, { passive: true });
      return () => element.removeEventListener("scroll", scrolled);
    },
    scrollToFn: to,
  });
  useLayoutEffect(look, [total, look]);

  const items = rows.getVirtualItems().map(({ index, start }) => ({ index, y: start - ahead }));
  const show = (index: number) => {
    const [offset, view] = [rows.scrollOffset ?? 0, box.current?.clientHeight ?? 0];
    const [begin, end] = [index * row, (index + 1) * row + head];
    if (begin < offset) to(begin);
    else if (end > offset + view) to(end - view);
  };
  const { startIndex, endIndex } = rows.range ?? { startIndex: 0, endIndex: -1 };
  return { box, height: lens.current.height(total) - head, items, seen: [startIndex, endIndex + 1], show };
}

/** What is in view of the rows: their head is none. */
function observeRect(of: Virtualizer<HTMLDivElement, HTMLElement>, head: number, tell: (rect: { width: number; height: number }) => void) {
  const element = of.scrollElement;
  if (!element) return;
  const look = () => tell({ width: element.clientWidth, height: Math.max(0, element.clientHeight - head) });
  look();
  const sized = new ResizeObserver(look);
  sized.observe(element);
  return () => sized.disconnect();
}
