// Amounts of data as people read them: thousands, as networks count them.

const UNITS = ["B", "kB", "MB", "GB", "TB", "PB"];

/** `1.2 MB`; `0`. */
export function bytes(n: number): string {
  if (n === 0) return "0";
  let [value, unit] = [n, 0];
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000;
    unit++;
  }
  const text = unit === 0 || value >= 99.95 ? Math.round(value).toString() : value >= 9.995 ? value.toFixed(1) : value.toFixed(2);
  return `${text.includes(".") ? text.replace(/\.?0+$/, "") : text} ${UNITS[unit]}`;
}
