// What is believed of a device; each value opens how it is known.

import type { Believed, Device, WholeDevice } from "../../api/client";
import { exact } from "../../lib/time";
import { deviceAt, Link } from "../../lib/route";
import { useNames } from "../../lib/people";
import { Time } from "../../ui/kit";
import { Mark, toneOf } from "../../ui/mark";

type Field = "name" | "owner" | "zone" | "criticality" | "posture" | "assurance" | "type" | "vendor" | "model" | "firmware" | "support" | "exposure" | "hardware" | "serial" | "os" | "hostname" | "mud-url";

const FIELDS: [name: string, field: Field, marked?: boolean][] = [
  ["Name", "name"],
  ["Owner", "owner"],
  ["Zone", "zone"],
  ["Criticality", "criticality"],
  ["Posture", "posture", true],
  ["Assurance", "assurance"],
  ["Type", "type"],
  ["Vendor", "vendor"],
  ["Model", "model"],
  ["Firmware", "firmware"],
  ["Support", "support", true],
  ["Exposure", "exposure", true],
  ["Hardware", "hardware"],
  ["Serial", "serial"],
  ["System", "os"],
  ["Hostname", "hostname"],
  ["MUD", "mud-url"],
];

export function Beliefs({ device }: { device: WholeDevice }) {
  const nameOf = useNames();
  const known = FIELDS.filter(([, field]) => device[field]);
  const unknown = FIELDS.filter(([, field]) => !device[field]).map(([name]) => name.toLowerCase());
  return (
    <section className="card" aria-labelledby="beliefs">
      <h2 id="beliefs">What is known</h2>
      <ul className="beliefs">
        {known.map(([name, field, marked]) => {
          const it = device[field];
          if (!it) return null;
          const others = device.otherwise[field] ?? [];
          return (
            <li key={name}>
              <details>
                <summary>
                  <span className="quiet">{name}</span>
                  <span className="cut">{marked ? <Mark tone={toneOf(it.value)}>{it.value}</Mark> : it.value}</span>
                  <span className="faint how">
                    {others.length > 0 && <Mark tone="note">others differ</Mark>} {it.decided ? "decided" : `${it.confidence} %`}
                  </span>
                </summary>
                <dl className="facts">
                  <dt>{it.decided ? "Decided by" : "Said by"}</dt>
                  <dd>{nameOf(it.source)}</dd>
                  {!it.decided && (
                    <>
                      <dt>How sure</dt>
                      <dd>
                        <meter min={0} max={100} low={50} value={it.confidence} aria-label={`${name}: how sure`} /> {it.confidence} %
                      </dd>
                    </>
                  )}
                  <dt>{it.decided ? "When" : "Observed"}</dt>
                  <dd>
                    {exact(it.at)} (<Time at={it.at} />)
                  </dd>
                  {it.decided && (
                    <>
                      <dt>Until</dt>
                      <dd>somebody takes it back; no source changes it</dd>
                    </>
                  )}
                  {others.length > 0 && (
                    <>
                      <dt>Others say</dt>
                      <dd>
                        {others.map((other) => (
                          <Otherwise key={other.source} said={other} nameOf={nameOf} />
                        ))}
                      </dd>
                    </>
                  )}
                </dl>
              </details>
            </li>
          );
        })}
      </ul>
      {unknown.length > 0 && <p className="foot quiet">Nobody said: {unknown.join(", ")}.</p>}
    </section>
  );
}

function Otherwise({ said, nameOf }: { said: Believed; nameOf: (who: string) => string }) {
  return (
    <div>
      {said.value}{" "}
      <span className="quiet">
        {nameOf(said.source)}, {said.confidence} %, <Time at={said.at} />
      </span>
    </div>
  );
}

export function Identifiers({ device }: { device: Device }) {
  const labels = Object.entries(device.labels);
  const none = <span className="faint">none</span>;
  return (
    <section className="card" aria-labelledby="identifiers">
      <h2 id="identifiers">What it is known by</h2>
      <dl className="facts inside">
        <dt>Identified by</dt>
        <dd className="mono">{device.keys.length > 0 ? device.keys.map((key) => <div key={key}>{key}</div>) : none}</dd>
        <dt>Addresses</dt>
        <dd className="mono">{device.addresses.length > 0 ? device.addresses.map((one) => <div key={one}>{one}</div>) : none}</dd>
        {device.aliases.length > 0 && (
          <>
            <dt>Was also</dt>
            <dd className="mono">{device.aliases.join(", ")}</dd>
          </>
        )}
        {device.confused_with.length > 0 && (
          <>
            <dt>Several?</dt>
            <dd>
              {device.confused_with.map((other) => (
                <div key={other}>
                  <Mark tone="note">
                    shares an identifier with <Link to={deviceAt(other)}>{other}</Link>
                  </Mark>
                </div>
              ))}
            </dd>
          </>
        )}
        <dt>First seen</dt>
        <dd>{exact(device.first_seen)}</dd>
        <dt>Last seen</dt>
        <dd>{exact(device.last_seen)}</dd>
        <dt>Labels</dt>
        <dd>{labels.length > 0 ? labels.map(([name, value]) => <span className="tag" key={name}>{`${name}=${value}`}</span>) : none}</dd>
      </dl>
    </section>
  );
}
