// The difference between a list and the estate, row by row; only the rows in view are in the page.

import { useMemo, useState, type KeyboardEvent } from "react";
import { deviceAt, Link } from "../../lib/route";
import { count } from "../../lib/time";
import { Mark, Shape, type Tone } from "../../ui/mark";
import { useRowsInView } from "../../ui/rows";
import type { Schemas } from "../../api/client";
import type { Told } from ".";

type Row = Schemas["ImportRow"];
type Outcome = Row["outcome"];

const OUTCOMES: [word: Outcome, tone: Tone, does: string, did: string][] = [
  ["refused", "bad", "refused", "left out"],
  ["new", "good", "new", "new"],
  ["changed", "note", "changes", "changed"],
  ["same", "none", "known already", "known already"],
  ["ended", "none", "lease has ended", "lease has ended"],
];

/** Pixels of a line. */
const LINE = 26;
const HEAD = 32;

/** A row of the list takes as many lines as it has things to say; each line is of one height. */
interface Line {
  row: Row;
  /** Which of its changes; `null`: the row itself, when it has none. */
  change: Schemas["ImportChange"] | null;
  first: boolean;
}

function linesOf(rows: Row[], only: Outcome | null): Line[] {
  const lines: Line[] = [];
  for (const row of rows) {
    if (only !== null && row.outcome !== only) continue;
    const changes = row.changes ?? [];
    if (changes.length === 0) lines.push({ row, change: null, first: true });
    for (const [number, change] of changes.entries()) lines.push({ row, change, first: number === 0 });
  }
  return lines;
}

export function Difference({ told, text }: { told: Told; text: string }) {
  const { counts, rows, applied } = told;
  const [only, setOnly] = useState<Outcome | null>(counts.refused > 0 ? "refused" : null);
  const lines = useMemo(() => linesOf(rows, only), [rows, only]);
  const list = useMemo(() => text.split(/\r\n|\r|\n/), [text]);
  const { box, height, items } = useRowsInView(lines.length, LINE, HEAD);
  const keys = (event: KeyboardEvent) => {
    const element = box.current;
    if (!element || event.target !== element) return;
    if (event.key === "Home") element.scrollTop = 0;
    if (event.key === "End") element.scrollTop = element.scrollHeight;
  };
  return (
    <section className="card difference" aria-labelledby="difference">
      <header>
        <h2 id="difference">Row by row</h2>
        <span className="space" />
        <div className="choose" role="group" aria-label="Which rows">
          <button type="button" className="button small" aria-pressed={only === null} onClick={() => setOnly(null)}>
            all {count(rows.length)}
          </button>
          {OUTCOMES.filter(([word]) => counts[word] > 0).map(([word, tone, does, did]) => (
            <button key={word} type="button" className={`button small mark ${tone}`} aria-pressed={only === word} onClick={() => setOnly(word)}>
              <Shape tone={tone} /> {count(counts[word])} {applied ? did : does}
            </button>
          ))}
        </div>
      </header>
      <div ref={box} className="scroll lines" role="table" aria-label="Rows of the list" aria-rowcount={lines.length + 1} tabIndex={0} onKeyDown={keys}>
        <div className="line head" role="row" aria-rowindex={1}>
          {["Row", "Comes to", "Device", "What", "Now", "The list says"].map((name) => (
            <span key={name} role="columnheader">
              {name}
            </span>
          ))}
        </div>
        <div className="rows" role="rowgroup" style={{ height }}>
          {items.map(({ index, y }) => {
            const line = lines[index];
            return line && <Shown key={index} line={line} index={index} y={y} applied={applied} text={list[line.row.line - 1] ?? ""} />;
          })}
        </div>
      </div>
    </section>
  );
}

/** `text`: the row as the list has it. */
function Shown({ line: { row, change, first }, index, y, applied, text }: { line: Line; index: number; y: number; applied: boolean; text: string }) {
  const [, tone, does, did] = OUTCOMES.find(([word]) => word === row.outcome) ?? ["same", "none", row.outcome, row.outcome];
  const there = row.device && (applied ? row.outcome !== "refused" : row.outcome !== "new" && row.outcome !== "refused");
  const place = { transform: `translateY(${y}px)` };
  return (
    <div className={first ? "line first" : "line"} role="row" aria-rowindex={index + 2} style={place}>
      <span role="cell" className="number">
        {first && (row.line === 0 ? "file" : count(row.line))}
      </span>
      <span role="cell">{first && <Mark tone={tone}>{applied ? did : does}</Mark>}</span>
      <span role="cell" className="cut mono" title={row.device ?? text}>
        {first && (row.device && there ? <Link to={deviceAt(row.device)}>{row.device}</Link> : (row.device ?? <span className="quiet">{text}</span>))}
      </span>
      {row.outcome === "refused" ? (
        <span role="cell" className="why cut" title={row.why ?? undefined} tabIndex={row.why && row.why.length > 120 ? 0 : undefined}>
          {row.why}
        </span>
      ) : change ? (
        <>
          <span role="cell" className="cut">
            {change.field}
          </span>
          <span role="cell" className="cut quiet" title={change.before ?? undefined}>
            {change.before ?? <span className="faint">nothing</span>}
          </span>
          <span role="cell" className="cut" title={[change.after, change.beaten_by].filter(Boolean).join("\n")}>
            <strong>{change.after}</strong> <span className="faint">{change.beaten_by ? `not believed: ${change.beaten_by}` : change.decided ? "decided" : "claimed"}</span>
          </span>
        </>
      ) : (
        <span role="cell" className="why quiet">
          {row.seen ? "a newer sign of life" : ""}
        </span>
      )}
    </div>
  );
}
