// Times as people read them: how long ago, and exactly when. Always in 24 hours, always with seconds where it matters.

const two = (n: number) => String(n).padStart(2, "0");

/** `12:03:11` of today, else `2031-04-05 12:03:11`; local time. */
export function clock(at: number | string): string {
  const date = new Date(at);
  if (Number.isNaN(date.getTime())) return String(at);
  const time = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  return new Date().toDateString() === date.toDateString() ? time : `${day} ${time}`;
}

/** `2031-04-05 12:03:11 UTC`, the same for everybody. */
export function exact(at: string): string {
  const date = new Date(at);
  return Number.isNaN(date.getTime()) ? at : `${date.toISOString().slice(0, 19).replace("T", " ")} UTC`;
}

/** `3 min ago`, `in 2 h`. */
export function ago(at: string, now = Date.now()): string {
  const then = new Date(at).getTime();
  if (Number.isNaN(then)) return at;
  const past = now - then;
  const s = Math.abs(past) / 1000;
  const steps: [number, number, string][] = [
    [90, 1, "s"],
    [5_400, 60, "min"],
    [129_600, 3_600, "h"],
    [4_000_000, 86_400, "d"],
    [63_072_000, 2_629_800, "mo"],
    [Infinity, 31_557_600, "y"],
  ];
  if (s < 5) return "now";
  for (const [below, unit, word] of steps) {
    if (s < below) {
      const n = Math.round(s / unit);
      return past >= 0 ? `${n} ${word} ago` : `in ${n} ${word}`;
    }
  }
  return at;
}

/** `1,204`. */
export function count(n: number): string {
  return n.toLocaleString("en");
}
