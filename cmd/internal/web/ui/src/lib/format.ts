// How numbers, times and hostile text are shown.

const units = ["B", "kB", "MB", "GB", "TB", "PB"];

export function bytes(n: number): string {
  let i = 0;
  let v = n;
  while (v >= 999.5 && i < units.length - 1) {
    v /= 1000;
    i++;
  }
  const digits = i === 0 || v >= 99.5 ? 0 : v >= 9.95 ? 1 : 2;
  return `${v.toFixed(digits)}\u00a0${units[i]}`;
}

const whole = new Intl.NumberFormat(undefined);
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

export const count = (n: number): string => (n < 100_000 ? whole.format(n) : short.format(n).replace("K", "k"));
export const exact = (n: number): string => whole.format(n);

export function plural(n: number, noun: string): string {
  return `${count(n)} ${noun}${n === 1 ? "" : "s"}`;
}

export function seconds(s: number): string {
  if (s < 1) return `${Math.round(s * 1000)} ms`;
  if (s < 60) return `${s < 10 ? s.toFixed(1) : Math.round(s)} s`;
  if (s < 3600) return `${Math.round(s / 60)} min`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.round((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.round((s % 86400) / 3600)} h`;
}

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const minute = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const day = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric" });
const year = new Intl.DateTimeFormat(undefined, { year: "numeric", month: "short", day: "numeric" });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "long" });

export const isZero = (t?: string): boolean => !t || t.startsWith("0001-01-01");
export const fullTime = (t?: string): string => (isZero(t) ? "never" : full.format(new Date(t!)));

/** stamp is as short as the day allows, in local time. */
export function stamp(t?: string, withSeconds = true): string {
  if (isZero(t)) return "–";
  const d = new Date(t!);
  const now = new Date();
  const time = (withSeconds ? clock : minute).format(d);
  if (d.toDateString() === now.toDateString()) return time;
  if (d.getFullYear() === now.getFullYear()) return `${day.format(d)}, ${minute.format(d)}`;
  return year.format(d);
}

export function ago(t?: string): string {
  if (isZero(t)) return "never";
  const s = (Date.now() - new Date(t!).getTime()) / 1000;
  if (s < 5) return "now";
  if (s < 60) return `${Math.round(s)} s ago`;
  if (s < 3600) return `${Math.round(s / 60)} min ago`;
  if (s < 86400) return `${Math.round(s / 3600)} h ago`;
  if (s < 86400 * 60) return `${Math.round(s / 86400)} d ago`;
  return year.format(new Date(t!));
}

/** axisTime labels a moment on an axis whose steps are so many seconds. */
export function axisTime(ms: number, step: number): string {
  const d = new Date(ms);
  if (step < 60) return clock.format(d);
  if (step < 86400) return d.getHours() === 0 && d.getMinutes() === 0 ? day.format(d) : minute.format(d);
  return step < 86400 * 200 ? day.format(d) : String(d.getFullYear());
}

/** spanTime is a bucket of time for a person. */
export function spanTime(ms: number, width: number): string {
  const d = new Date(ms);
  if (width >= 86400) return year.format(d);
  return `${day.format(d)}, ${width < 60 ? clock.format(d) : minute.format(d)}`;
}

// What has no shape, or turns the direction of what follows, is written out: a
// program may call itself anything.
const unseen = /[\u0000-\u001f\u007f-\u00a0\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b-\u200f\u2028-\u202f\u205f-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\uffff]|[\u{1bca0}-\u{1bca3}\u{1d173}-\u{1d17a}\u{e0000}-\u{e0fff}]/gu;

/** show makes hostile text harmless to the eye. (Preact escapes it for HTML.) */
export function show(s: string): string {
  return s.replace(unseen, (c) => {
    const n = c.codePointAt(0)!;
    return n < 0x100 ? `\\x${n.toString(16).padStart(2, "0")}` : `\\u{${n.toString(16)}}`;
  });
}

/** base is the last part of a path. */
export const base = (path: string): string => path.slice(path.lastIndexOf("/") + 1) || path;

export function percent(part: number, of: number): string {
  if (of <= 0) return "";
  const p = (100 * part) / of;
  return p > 0 && p < 1 ? "<1 %" : `${Math.round(p)} %`;
}

let regions: Intl.DisplayNames | undefined;

export function countryName(code: string): string {
  if (!/^[A-Z]{2}$/.test(code)) return code === "" ? "unknown" : show(code);
  try {
    regions ??= new Intl.DisplayNames(undefined, { type: "region" });
    return regions.of(code) ?? code;
  } catch {
    return code;
  }
}
