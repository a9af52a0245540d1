// Small pictures, drawn in the text's colour. They never stand alone: a word is beside each, or its button has a name.

const PATHS = {
  devices: "M2.5 3.5h11v7h-11zM6 13h4M8 10.5V13",
  reach: "M3 3h3v3H3zM10 3h3v3h-3zM3 10h3v3H3zM10 10h3v3h-3z",
  proof: "M8 2l5 2v4c0 3-2.2 5-5 6-2.8-1-5-3-5-6V4zM5.8 8l1.6 1.6L10.4 6.5",
  exceptions: "M8 14A6 6 0 0 1 8 2M8 2a6 6 0 0 1 5.2 3M13.2 11A6 6 0 0 1 8 14M7 8h7M11.5 5.5L14 8l-2.5 2.5",
  waiting: "M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12zM8 4.8V8l2.2 1.6",
  filter: "M2.5 4h11M4.5 8h7M6.5 12h3",
  views: "M3 3.5h10v9.5L8 10l-5 3z",
  rising: "M8 12.5v-9M4.5 7L8 3.5 11.5 7",
  falling: "M8 3.5v9M4.5 9L8 12.5 11.5 9",
  search: "M7 12A5 5 0 1 0 7 2a5 5 0 0 0 0 10zM10.7 10.7L14 14",
  columns: "M2.5 3h11v10h-11zM6.2 3v10M9.8 3v10",
  close: "M4 4l8 8M12 4l-8 8",
  right: "M6 3.5L10.5 8 6 12.5",
  down: "M3.5 6L8 10.5 12.5 6",
  back: "M10 3.5L5.5 8l4.5 4.5",
  up: "M8 13V3.5M4 7l4-4 4 4",
  lost: "M2 6.5a9 9 0 0 1 12 0M4.5 9a5.2 5.2 0 0 1 7 0M8 12.5v.1M3 13L13 3",
  copy: "M5.5 5.5v-3h8v8h-3M2.5 5.5h8v8h-8z",
  out: "M6 3H3v10h3M7 8h6.5M11 5.5L13.5 8 11 10.5",
  person: "M8 8a2.7 2.7 0 1 0 0-5.4A2.7 2.7 0 0 0 8 8zM3 14c.4-2.8 2.4-4.2 5-4.2s4.6 1.4 5 4.2",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name, size = 16 }: { name: IconName; size?: number }) {
  return (
    <svg aria-hidden="true" width={size} height={size} viewBox="0 0 16 16" fill="none" stroke="currentColor" strokeWidth="1.4" strokeLinecap="round" strokeLinejoin="round">
      <path d={PATHS[name]} />
    </svg>
  );
}

export function Ring({ size = 20 }: { size?: number }) {
  return (
    <svg aria-hidden="true" width={size} height={size} viewBox="0 0 32 32" fill="none">
      <rect width="32" height="32" rx="7" fill="var(--accent)" />
      <path d="M16 6.5a9.5 9.5 0 1 1-9.5 9.5" stroke="var(--on-accent)" strokeWidth="3" strokeLinecap="round" />
      <circle cx="16" cy="16" r="3.2" fill="var(--on-accent)" />
    </svg>
  );
}
