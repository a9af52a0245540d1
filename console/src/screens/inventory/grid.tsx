// The table: only the rows in view are in the page. One tab stop; arrows move, above the first row are the columns' heads; Space chooses,
// Enter opens, or orders by a head.

import { useTable } from "@tanstack/react-table";
import { useEffect, useId, useMemo, useState, type KeyboardEvent } from "react";
import type { Device } from "../../api/client";
import { deviceAt, go } from "../../lib/route";
import { settings } from "../../lib/settings";
import { useStore } from "../../lib/store";
import { count } from "../../lib/time";
import { Icon } from "../../ui/icons";
import { useRowsInView } from "../../ui/rows";
import { columnsOf, features, isOrdered, nameOf } from "./columns";
import type { Rows } from "./rows";

/** Pixels of a row, as `--row` in tokens.css. */
const ROW = { compact: 30, comfortable: 38 };
const HEAD = 32;
const CHECK = 36;
/** The place above the first row. */
const HEADS = -1;

interface Props {
  rows: Rows;
  /** Changes with the rows. */
  version: number;
  waiting: boolean;
  shown: string[];
  chosen: ReadonlySet<string>;
  onChoose: (chosen: ReadonlySet<string>) => void;
  sort: string;
  onSort: (sort: string) => void;
}

/** Rising, falling, and as it is without. */
function turned(sort: string, column: string): string {
  return sort === column ? `-${column}` : sort === `-${column}` ? "" : column;
}

export function Grid({ rows, waiting, shown, chosen, onChoose, sort, onSort }: Props) {
  const { density } = useStore(settings);
  const height = ROW[density];
  const { length, total } = rows.standing;
  const [active, setActive] = useState(0);
  const [head, setHead] = useState(0);
  const id = useId();
  const view = useRowsInView(length, height, HEAD);
  const { items, box } = view;
  const [first, last] = [items[0]?.index ?? 0, items.at(-1)?.index ?? 0];
  useEffect(() => rows.want(first, last), [rows, first, last]);

  // The table holds what is in view; its rows are found by id.
  const inView: Device[] = [];
  for (const { index } of items) {
    const device = rows.row(index);
    if (device) inView.push(device);
  }
  const columns = useMemo(() => columnsOf(shown), [shown]);
  const table = useTable({ features, columns, data: inView, getRowId: (device: Device) => device.id });
  const byId = new Map(table.getRowModel().rows.map((row) => [row.id, row]));
  const heads = table.getHeaderGroups()[0]?.headers ?? [];
  const sizes = heads.map((head) => head.column.getSize());
  const layout = {
    "--columns": `${CHECK}px ${sizes.map((size) => `minmax(${size}px, ${size}fr)`).join(" ")}`,
    "--width": `${sizes.reduce((sum, size) => sum + size, CHECK)}px`,
  } as React.CSSProperties;

  const at = Math.min(active, Math.max(0, length - 1));
  const headAt = Math.min(head, heads.length - 1);
  const move = (to: number) => {
    const next = Math.max(HEADS, Math.min(length - 1, to));
    setActive(next);
    if (next !== HEADS) view.show(next);
  };
  const toggle = (device: Device | undefined) => {
    if (!device) return;
    const next = new Set(chosen);
    if (!next.delete(device.id)) next.add(device.id);
    onChoose(next);
  };
  const order = (column: string | undefined) => {
    if (column && isOrdered(column)) onSort(turned(sort, column));
  };
  const keys = (event: KeyboardEvent) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target !== event.currentTarget) return;
    const page = Math.max(1, Math.floor(((box.current?.clientHeight ?? 0) - HEAD) / height) - 1);
    const device = at === HEADS ? undefined : rows.row(at);
    const does: Record<string, () => void> = {
      ArrowDown: () => move(at + 1),
      ArrowUp: () => move(at - 1),
      PageDown: () => move(at + page),
      PageUp: () => move(Math.max(0, at - page)),
      Home: () => move(0),
      End: () => move(length - 1),
      Escape: () => onChoose(new Set()),
      ...(at === HEADS
        ? {
            ArrowLeft: () => setHead(Math.max(0, headAt - 1)),
            ArrowRight: () => setHead(Math.min(heads.length - 1, headAt + 1)),
            Enter: () => order(heads[headAt]?.column.id),
            " ": () => order(heads[headAt]?.column.id),
          }
        : { " ": () => toggle(device), Enter: () => device && go(deviceAt(device.id)) }),
    };
    const run = does[event.key];
    if (!run) return;
    event.preventDefault();
    run();
  };
  useEffect(() => {
    // Further columns than there is room for.
    if (at === HEADS) document.getElementById(`${id}-head-${headAt}`)?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }, [at, headAt, id]);
  const activeId = at === HEADS ? `${id}-head-${headAt}` : items.some((item) => item.index === at) ? `${id}-${at}` : undefined;

  return (
    <>
      <div
        ref={box}
        className="grid scroll"
        role="grid"
        aria-label="Devices"
        aria-rowcount={total === null ? -1 : total + 1}
        aria-multiselectable="true"
        aria-busy={waiting}
        aria-activedescendant={activeId}
        tabIndex={0}
        style={layout}
        onKeyDown={keys}
      >
        <div className="head" role="row" aria-rowindex={1}>
          <div role="columnheader">
            <span className="hidden">Chosen</span>
          </div>
          {heads.map((head, number) => {
            const column = head.column.id;
            const way = sort === column ? "ascending" : sort === `-${column}` ? "descending" : "none";
            const ordered = isOrdered(column);
            return (
              <div
                key={head.id}
                id={`${id}-head-${number}`}
                role="columnheader"
                className={ordered ? "cut ordered" : "cut"}
                aria-sort={ordered ? way : undefined}
                data-active={at === HEADS && number === headAt}
                title={ordered ? "Order by this: rising, falling, not. What has no value comes last." : undefined}
                onClick={() => order(column)}
              >
                <span className="cut">
                  <table.FlexRender header={head} />
                </span>
                {way !== "none" && <Icon name={way === "ascending" ? "rising" : "falling"} size={12} />}
              </div>
            );
          })}
        </div>
        <div className="rows" role="rowgroup" style={{ height: view.height }}>
          {items.map(({ index, y }) => {
            const device = rows.row(index);
            const row = device && byId.get(device.id);
            const isChosen = device !== undefined && chosen.has(device.id);
            const place = { transform: `translateY(${y}px)`, height };
            return (
              <div key={index} id={`${id}-${index}`} className="row" role="row" aria-rowindex={index + 2} aria-selected={isChosen} data-active={index === at} style={place} onClick={() => setActive(index)} onDoubleClick={() => device && go(deviceAt(device.id))}>
                {device && row ? (
                  <>
                    <div role="gridcell">
                      <input type="checkbox" tabIndex={-1} aria-label={`Choose ${nameOf(device)}`} checked={isChosen} onChange={() => toggle(device)} />
                    </div>
                    {row.getAllCells().map((cell) => (
                      <div key={cell.id} role="gridcell" className="cut">
                        <table.FlexRender cell={cell} />
                      </div>
                    ))}
                  </>
                ) : (
                  <div role="gridcell" className="coming">
                    Loading…
                  </div>
                )}
              </div>
            );
          })}
        </div>
      </div>
      <footer className="where">
        <span>
          {`Rows ${count(Math.min(view.seen[0] + 1, length))}–${count(Math.min(view.seen[1], length))}`}
          {total !== null && <> of {count(total)}</>}
          {sort && `, by ${sort.replace("-", "")}, ${sort.startsWith("-") ? "falling" : "rising"}`}
        </span>
      </footer>
    </>
  );
}
