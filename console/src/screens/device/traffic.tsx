// How much a device sent and received, by hour or by day: a picture, and the same as a table.

import { lazy, Suspense, useMemo, useState } from "react";
import { bytes } from "../../lib/size";
import { count, ago } from "../../lib/time";
import { ProblemNotice } from "../../ui/kit";
import { sums, volume, type Flows } from "./flows";

const Chart = lazy(() => import("./chart"));

const DAY = new Intl.DateTimeFormat("en", { weekday: "short", day: "numeric", month: "short" });
const two = (n: number) => String(n).padStart(2, "0");

/** `Fri, Nov 27, 14:00–15:00`, or a day. */
function span(from: number, by: "hour" | "day"): string {
  const date = new Date(from * 1000);
  const day = DAY.format(date);
  return by === "day" ? day : `${day}, ${two(date.getHours())}:00–${two((date.getHours() + 1) % 24)}:00`;
}

export function Traffic({ flows: { hours, problem } }: { flows: Flows }) {
  const [by, setBy] = useState<"hour" | "day">("hour");
  const [chosen, setChosen] = useState<number | null>(null);
  const all = useMemo(() => sums(hours ?? [], by), [hours, by]);
  const total = (list: number[]) => list.reduce((sum, n) => sum + n, 0);
  const [sent, received] = [total(all.sent), total(all.received)];
  const what = by === "hour" ? "the last 48 hours" : "the last 14 days";
  const columns = all.at.map((_, column) => column).filter((column) => all.packets[column]);
  return (
    <section className="card" aria-labelledby="traffic">
      <header>
        <h2 id="traffic">Traffic</h2>
        <span className="space" />
        <div className="choose" role="group" aria-label="Columns">
          {(["hour", "day"] as const).map((one) => (
            <button key={one} type="button" className="button small" aria-pressed={by === one} onClick={() => (setBy(one), setChosen(null))}>
              by {one}
            </button>
          ))}
        </div>
      </header>
      {problem && !hours && <ProblemNotice problem={problem} />}
      {hours?.length === 0 && (
        <p className="inside quiet">Nothing that crossed the wire of its site was seen to be this device's. A site tells once a minute of conversations that came to be; what is kept is two weeks at most.</p>
      )}
      {hours && hours.length > 0 && (
        <>
          <Suspense fallback={<div className="chart" />}>
            <Chart key={by} sums={all} label={`Traffic of ${what}: ${volume(sent, received)}. The same is in the table below.`} onChoose={setChosen} />
          </Suspense>
          <p className="legend-line quiet" aria-live="polite">
            {chosen === null ? (
              <>
                <Key name="accent" /> above: sent {bytes(sent)} <Key name="faint" /> below: received {bytes(received)} in {what}
              </>
            ) : (
              <>
                {span(all.at[chosen] ?? 0, by)}: {volume(all.sent[chosen] ?? 0, all.received[chosen] ?? 0, all.packets[chosen] ?? 0)}
              </>
            )}
          </p>
          <details className="twin">
            <summary>As a table</summary>
            <table className="entries">
              <caption className="hidden">Traffic of {what}; what is left out had none</caption>
              <thead>
                <tr>
                  <th scope="col">{by === "hour" ? "Hour" : "Day"}</th>
                  <th scope="col">Sent</th>
                  <th scope="col">Received</th>
                  <th scope="col">Packets</th>
                </tr>
              </thead>
              <tbody>
                {columns.reverse().map((column) => (
                  <tr key={column}>
                    <td>{span(all.at[column] ?? 0, by)}</td>
                    <td>{bytes(all.sent[column] ?? 0)}</td>
                    <td>{bytes(all.received[column] ?? 0)}</td>
                    <td>{count(all.packets[column] ?? 0)}</td>
                  </tr>
                ))}
              </tbody>
            </table>
            {columns.length === 0 && <p className="inside quiet">None in {what}; the last was {ago(hours.at(-1)?.hour ?? "")}.</p>}
          </details>
        </>
      )}
    </section>
  );
}

function Key({ name }: { name: string }) {
  return <span className={`key ink-${name}`} aria-hidden="true" />;
}
