// How something stands: a shape, a word and a colour, so that each alone would do.

export type Tone = "good" | "note" | "bad" | "none";

const SHAPES: Record<Tone, string> = {
  good: "M5 1a4 4 0 1 1 0 8 4 4 0 0 1 0-8z",
  note: "M5 .8L9.6 9H.4z",
  bad: "M1 1h8v8H1z",
  none: "M5 1.2a3.8 3.8 0 1 1 0 7.6 3.8 3.8 0 0 1 0-7.6zm0 1.4a2.4 2.4 0 1 0 0 4.8 2.4 2.4 0 0 0 0-4.8z",
};

export function Shape({ tone, size = 10 }: { tone: Tone; size?: number }) {
  return (
    <svg aria-hidden="true" width={size} height={size} viewBox="0 0 10 10" fill="currentColor">
      <path d={SHAPES[tone]} />
    </svg>
  );
}

export function Mark({ tone, children }: { tone: Tone; children: React.ReactNode }) {
  return (
    <span className={`mark ${tone}`}>
      <Shape tone={tone} />
      {children}
    </span>
  );
}

const TONES: Record<string, Tone> = {
  normal: "good",
  watched: "note",
  quarantined: "bad",
  supported: "good",
  ending: "note",
  ended: "bad",
  none: "good",
  vulnerable: "note",
  "known-exploited": "bad",
  active: "good",
  stale: "note",
  retired: "none",
  granted: "good",
  refused: "bad",
};

/** The tone of a word of the estate; a word that is not known here has none. */
export function toneOf(word: string): Tone {
  return TONES[word] ?? "none";
}
