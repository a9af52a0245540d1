// What is believed of a device; each value opens how it is known.

import type { Believed, Device } from "../../api/client";
import { exact } from "../../lib/time";
import { deviceAt, Link } from "../../lib/route";
import { useNames } from "../../lib/people";
import { Time } from "../../ui/kit";
import { Mark, toneOf } from "../../ui/mark";

const FIELDS: [name: string, of: (device: Device) => Believed | null | undefined, marked?: boolean][] = [
  ["Name", (device) => device.name],
  ["Owner", (device) => device.owner],
  ["Zone", (device) => device.zone],
  ["Criticality", (device) => device.criticality],
  ["Posture", (device) => device.posture, true],
  ["Assurance", (device) => device.assurance],
  ["Type", (device) => device.type],
  ["Vendor", (device) => device.vendor],
  ["Model", (device) => device.model],
  ["Firmware", (device) => device.firmware],
  ["Support", (device) => device.support, true],
  ["Exposure", (device) => device.exposure, true],
  ["Hardware", (device) => device.hardware],
  ["Serial", (device) => device.serial],
  ["System", (device) => device.os],
  ["Hostname", (device) => device.hostname],
  ["MUD", (device) => device["mud-url"]],
];

export function Beliefs({ device }: { device: Device }) {
  const nameOf = useNames();
  const known = FIELDS.filter(([, of]) => of(device));
  const unknown = FIELDS.filter(([, of]) => !of(device)).map(([name]) => name.toLowerCase());
  return (
    <section className="card" aria-labelledby="beliefs">
      <h2 id="beliefs">What is known</h2>
      <ul className="beliefs">
        {known.map(([name, of, marked]) => {
          const it = of(device);
          if (!it) return null;
          return (
            <li key={name}>
              <details>
                <summary>
                  <span className="quiet">{name}</span>
                  <span className="cut">{marked ? <Mark tone={toneOf(it.value)}>{it.value}</Mark> : it.value}</span>
                  <span className="faint how">{it.decided ? "decided" : `${it.confidence} %`}</span>
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

export function Identity({ device }: { device: Device }) {
  const labels = Object.entries(device.labels);
  const none = <span className="faint">none</span>;
  return (
    <section className="card" aria-labelledby="identity">
      <h2 id="identity">Identity</h2>
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
