// How high a device stands and why no higher: what it has shown, who speaks for it, and when that ends.

import { ask, type Schemas } from "../../api/client";
import type { Change } from "../../api/live";
import { useLoaded } from "../../lib/load";
import { useNames } from "../../lib/people";
import { deviceAt, Link } from "../../lib/route";
import { exact } from "../../lib/time";
import { ProblemNotice, Time } from "../../ui/kit";
import { Mark, type Tone } from "../../ui/mark";

type Shown = Schemas["DeviceIdentity"];

/** Weakest first, as `model::Assurance`. */
const LADDER = ["observed", "vouched", "shared-secret", "device-key", "hardware-key", "attested"];

const PROOFS: Record<string, string> = {
  token: "a one-time token",
  approved: "a person who recognised its request",
  idevid: "its maker's certificate",
  renewed: "the certificate before",
  grace: "its old key, after the certificate was over",
  tpm: "its TPM",
  psk: "a pre-shared key",
};

const STATES: Record<string, Tone> = { good: "good", expired: "none", revoked: "bad" };

export function IdentityCard({ id, concerns }: { id: string; concerns: (change: Change) => boolean }) {
  const { value, problem } = useLoaded(`identity ${id}`, async (signal) => (await ask("get", "/v1/devices/{id}/identity", { path: { id }, signal })).body, concerns);
  return (
    <section className="card" aria-labelledby="identity">
      <h2 id="identity">How sure it is who it is</h2>
      <div className="inside">
        {problem && <ProblemNotice problem={problem} />}
        {value && <Stands shown={value} />}
      </div>
    </section>
  );
}

function Stands({ shown }: { shown: Shown }) {
  const nameOf = useNames();
  const { voucher, attestation, tpm, zone, credentials } = shown;
  // The newest first: that is the one it uses.
  const certificates = [...credentials].reverse();
  return (
    <>
      <Ladder level={shown.level} />
      <dl className="facts">
        <dt>Why no higher</dt>
        <dd>{shown.because}</dd>
        {shown.until && (
          <>
            <dt>Falls</dt>
            <dd>
              {exact(shown.until)} (<Time at={shown.until} />), unless something is renewed
            </dd>
          </>
        )}
        {zone && zone.meant !== zone.in_force && (
          <>
            <dt>Zone</dt>
            <dd>
              <Mark tone="note">
                {zone.in_force}, not {zone.meant}, for as long as it stands so low
              </Mark>
            </dd>
          </>
        )}
        {voucher && (
          <>
            <dt>Vouched for</dt>
            <dd>
              {voucher.gateway ? <Link to={deviceAt(voucher.gateway)}>{voucher.gateway}</Link> : [voucher.first, voucher.second].flatMap((one) => (one ? [nameOf(one)] : [])).join(" and ")},{" "}
              {voucher.counts ? "until" : "over since"} {exact(voucher.until)}
            </dd>
          </>
        )}
        {attestation && (
          <>
            <dt>Measured</dt>
            <dd>
              {attestation.release ? `${attestation.release.vendor} ${attestation.release.model} ${attestation.release.version}, ${attestation.release.state}` : "as a file of reference values says"};{" "}
              {attestation.counts ? "until" : "over since"} {exact(attestation.until)}
            </dd>
          </>
        )}
        {tpm && (
          <>
            <dt>TPM</dt>
            <dd>{tpm.maker ? `of ${tpm.maker}` : "no maker vouches for it; a token was believed"}</dd>
          </>
        )}
      </dl>
      {certificates.length > 0 && (
        <>
          <h3 className="quiet">Certificates</h3>
          <ul className="grounds certificates">
            {certificates.map((one) => (
              <li key={one.serial}>
                <Mark tone={STATES[one.state] ?? "none"}>{one.state}</Mark>
                <span title={`serial ${one.serial}, key ${one.key_sha256}`}>
                  {one.level}, by {PROOFS[one.proof] ?? one.proof}{" "}
                  <span className="quiet">
                    {one.state === "good" ? "until" : "over"} {exact(one.revoked_at ?? one.until)}
                  </span>
                </span>
                <Link to={`/proof/${one.entry}`}>entry {one.entry}</Link>
              </li>
            ))}
          </ul>
        </>
      )}
    </>
  );
}

/** The steps, and on which it stands: as text it is one line. */
function Ladder({ level }: { level: string }) {
  const at = LADDER.indexOf(level);
  return (
    <ol className="ladder" aria-label={`${level}, step ${at + 1} of ${LADDER.length}`}>
      {LADDER.map((step, n) => (
        <li key={step} className={n <= at ? "reached" : undefined} aria-current={n === at ? "step" : undefined}>
          {step}
        </li>
      ))}
    </ol>
  );
}
