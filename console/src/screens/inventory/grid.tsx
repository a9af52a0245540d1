// The table: only the rows in view are in the page. One tab stop; arrows move, Space chooses, Enter opens.

import { useTable } from "@tanstack/react-table";
import { useVirtualizer } from "@tanstack/react-virtual";
import { useEffect, useId, useMemo, useRef, useState, type KeyboardEvent } from "react";
import type { Device } from "../../api/client";
import { deviceAt, go } from "../../lib/route";
import { settings } from "../../lib/settings";
import { useStore } from "../../lib/store";
import { columns, features, nameOf } from "./columns";
import type { Rows } from "./rows";

/** Pixels of a row, as `--row` in tokens.css. */
const ROW = { compact: 30, comfortable: 38 };
const HEAD = 32;
const CHECK = 36;

interface Props {
  rows: Rows;
  /** Changes with the rows. */
  version: number;
  waiting: boolean;
  shown: string[];
  chosen: ReadonlySet<string>;
  onChoose: (chosen: ReadonlySet<string>) => void;
}

export function Grid({ rows, waiting, shown, chosen, onChoose }: Props) {
  const { density } = useStore(settings);
  const height = ROW[density];
  const { length, complete } = rows.standing;
  const box = useRef<HTMLDivElement>(null);
  const [active, setActive] = useState(0);
  const id = useId();
  const virtual = useVirtualizer({
    count: length,
    getScrollElement: () => box.current,
    estimateSize: () => height,
    overscan: 12,
    paddingStart: HEAD,
    scrollPaddingStart: HEAD,
  });
  useEffect(() => virtual.measure(), [height, virtual]);
  const items = virtual.getVirtualItems();
  const [first, last] = [items[0]?.index ?? 0, items.at(-1)?.index ?? 0];
  useEffect(() => rows.want(first, last), [rows, first, last]);

  // The table holds what is in view; its rows are found by id.
  const inView: Device[] = [];
  for (const { index } of items) {
    const device = rows.row(index);
    if (device) inView.push(device);
  }
  const visibility = useMemo(() => Object.fromEntries(columns.map((column) => [column.id ?? "", shown.includes(column.id ?? "")])), [shown]);
  const table = useTable({ features, columns, data: inView, getRowId: (device: Device) => device.id, state: { columnVisibility: visibility } });
  const byId = new Map(table.getRowModel().rows.map((row) => [row.id, row]));
  const heads = table.getHeaderGroups()[0]?.headers ?? [];
  const sizes = heads.map((head) => head.column.getSize());
  const layout = {
    "--columns": `${CHECK}px ${sizes.map((size) => `minmax(${size}px, ${size}fr)`).join(" ")}`,
    "--width": `${sizes.reduce((sum, size) => sum + size, CHECK)}px`,
  } as React.CSSProperties;

  const at = Math.min(active, Math.max(0, length - 1));
  const move = (to: number) => {
    const next = Math.max(0, Math.min(length - 1, to));
    setActive(next);
    virtual.scrollToIndex(next);
  };
  const toggle = (device: Device | undefined) => {
    if (!device) return;
    const next = new Set(chosen);
    if (!next.delete(device.id)) next.add(device.id);
    onChoose(next);
  };
  const keys = (event: KeyboardEvent) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const page = Math.max(1, Math.floor(((box.current?.clientHeight ?? 0) - HEAD) / height) - 1);
    const device = rows.row(at);
    const does: Record<string, () => void> = {
      ArrowDown: () => move(at + 1),
      ArrowUp: () => move(at - 1),
      PageDown: () => move(at + page),
      PageUp: () => move(at - page),
      Home: () => move(0),
      End: () => move(length - 1),
      " ": () => toggle(device),
      Enter: () => device && go(deviceAt(device.id)),
      Escape: () => onChoose(new Set()),
    };
    const run = does[event.key];
    if (!run) return;
    event.preventDefault();
    run();
  };

  return (
    <div
      ref={box}
      className="grid scroll"
      role="grid"
      aria-label="Devices"
      aria-rowcount={complete ? length + 1 : -1}
      aria-multiselectable="true"
      aria-busy={waiting}
      aria-activedescendant={items.some((item) => item.index === at) ? `${id}-${at}` : undefined}
      tabIndex={0}
      style={layout}
      onKeyDown={keys}
    >
      <div className="head" role="row" aria-rowindex={1}>
        <div role="columnheader">
          <span className="hidden">Chosen</span>
        </div>
        {heads.map((head) => (
          <div key={head.id} role="columnheader" className="cut">
            <table.FlexRender header={head} />
          </div>
        ))}
      </div>
      <div className="rows" role="rowgroup" style={{ height: virtual.getTotalSize() - HEAD }}>
        {items.map(({ index, start }) => {
          const device = rows.row(index);
          const row = device && byId.get(device.id);
          const isChosen = device !== undefined && chosen.has(device.id);
          const place = { transform: `translateY(${start - HEAD}px)`, height };
          return (
            <div key={index} id={`${id}-${index}`} className="row" role="row" aria-rowindex={index + 2} aria-selected={isChosen} data-active={index === at} style={place} onClick={() => setActive(index)} onDoubleClick={() => device && go(deviceAt(device.id))}>
              {device && row ? (
                <>
                  <div role="gridcell">
                    <input type="checkbox" tabIndex={-1} aria-label={`Choose ${nameOf(device)}`} checked={isChosen} onChange={() => toggle(device)} />
                  </div>
                  {row.getVisibleCells().map((cell) => (
                    <div key={cell.id} role="gridcell" className="cut">
                      <table.FlexRender cell={cell} />
                    </div>
                  ))}
                </>
              ) : (
                <div role="gridcell" className="coming">
                  <span className="hidden">Loading</span>
                </div>
              )}
            </div>
          );
        })}
      </div>
    </div>
  );
}
