// Two records side by side: what is the same, what differs, what only one of them says.

import { ask, type Device } from "../../api/client";
import { useLoaded } from "../../lib/load";
import { deviceAt, Link } from "../../lib/route";
import { exact } from "../../lib/time";
import { ProblemNotice } from "../../ui/kit";
import { Mark, type Tone } from "../../ui/mark";

/** Each, and whether it tells anything about being one device. */
const FIELDS: [name: string, of: (device: Device) => string | undefined, telling?: boolean][] = [
  ["Name", (device) => device.name?.value],
  ["Type", (device) => device.type?.value, true],
  ["Vendor", (device) => device.vendor?.value, true],
  ["Model", (device) => device.model?.value, true],
  ["Serial", (device) => device.serial?.value, true],
  ["Firmware", (device) => device.firmware?.value, true],
  ["Hostname", (device) => device.hostname?.value, true],
  ["System", (device) => device.os?.value, true],
  ["Owner", (device) => device.owner?.value],
  ["Identified by", (device) => device.keys.join("\n")],
  ["Addresses", (device) => device.addresses.join("\n"), true],
  ["Site", (device) => device.site],
  ["State", (device) => device.state],
  ["First seen", (device) => exact(device.first_seen)],
  ["Last seen", (device) => exact(device.last_seen)],
];

function judged(a: string, b: string): [Tone, string] {
  if (a === b) return ["good", "the same"];
  if (!a || !b) return ["none", "one of them"];
  if (a.split("\n").some((line) => b.split("\n").includes(line))) return ["note", "shared"];
  return ["bad", "different"];
}

export function Compare({ ids }: { ids: string[] }) {
  const both = useLoaded(
    ids.join(" "),
    (signal) => Promise.all(ids.map(async (id) => (await ask("get", "/v1/devices/{id}", { path: { id }, signal })).body as Device)),
    (change) => change.events.some(({ area }) => area === "device"),
    3_000,
  );
  if (both.problem) return <ProblemNotice problem={both.problem} />;
  const [a, b] = both.value ?? [];
  if (!a || !b) return null;
  return (
    <section className="card" aria-labelledby="compare">
      <h2 id="compare">Side by side</h2>
      <table className="entries compare">
        <thead>
          <tr>
            <th scope="col">What</th>
            {[a, b].map((device) => (
              <th scope="col" key={device.id}>
                <Link to={deviceAt(device.id)}>{device.id}</Link>
              </th>
            ))}
            <th scope="col">They are</th>
          </tr>
        </thead>
        <tbody>
          {FIELDS.map(([name, of, telling]) => {
            const [x, y] = [of(a) ?? "", of(b) ?? ""];
            if (!x && !y) return null;
            const [tone, word] = judged(x, y);
            return (
              <tr key={name}>
                <th scope="row">{name}</th>
                <td>{x || <span className="faint">nobody said</span>}</td>
                <td>{y || <span className="faint">nobody said</span>}</td>
                <td>{telling && <Mark tone={tone}>{word}</Mark>}</td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </section>
  );
}
