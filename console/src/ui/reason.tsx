// The reason of a change. It goes into the journal for ever: so it is asked for, and nothing personal belongs there.

import { Field } from "./kit";

export function Reason({ value, onChange, autoFocus }: { value: string; onChange: (why: string) => void; autoFocus?: boolean }) {
  return (
    <Field label="Reason" hint="Kept in the journal for ever. No personal data.">
      {(id, described) => (
        <input
          id={id}
          className="input"
          aria-describedby={described}
          value={value}
          maxLength={1000}
          required
          autoFocus={autoFocus}
          autoComplete="off"
          placeholder="ticket 17: cameras belong to loss prevention"
          onChange={(event) => onChange(event.target.value)}
        />
      )}
    </Field>
  );
}
