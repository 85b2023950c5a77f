// The range of time that a page shows.

import { useState } from "preact/hooks";
import { stamp } from "../lib/format";
import { changed, go, type Place, usePlace } from "../lib/route";
import { Button, Dialog } from "./bits";
import { Icon } from "./icons";

const presets = [
  ["1m", "Last minute"], ["5m", "Last 5 minutes"], ["15m", "Last 15 minutes"], ["1h", "Last hour"], ["6h", "Last 6 hours"], ["24h", "Last 24 hours"],
  ["7d", "Last 7 days"], ["30d", "Last 30 days"], ["90d", "Last 90 days"], ["365d", "Last year"], ["all", "All that is recorded"],
] as const;

const unit: Record<string, number> = { m: 60e3, h: 3600e3, d: 86400e3 };

const lengthOf = (last: string): number => {
  const m = /^(\d+)([mhd])$/.exec(last);
  return m ? Number(m[1]) * unit[m[2]!]! : 0;
};

interface Span {
  last: string; // "" : a fixed one
  since: number;
  until: number;
}

function span(p: Place): Span {
  const since = Number(p.params.get("since"));
  const until = Number(p.params.get("until"));
  if (since > 0 && until > since) return { last: "", since, until };
  const last = p.params.get("last") ?? "24h";
  const now = Date.now();
  return { last, since: now - lengthOf(last), until: now };
}

export const isFixed = (p: Place): boolean => span(p).last === "";

export function rangeLabel(p: Place): string {
  const s = span(p);
  if (s.last === "") return `${stamp(new Date(s.since).toISOString(), false)} – ${stamp(new Date(s.until).toISOString(), false)}`;
  return presets.find(([v]) => v === s.last)?.[1] ?? `Last ${s.last}`;
}

/** setRange goes to a fixed range. */
export function setRange(p: Place, since: number, until: number): void {
  go(changed(p, { last: null, since: String(Math.floor(since)), until: String(Math.ceil(until)), offset: null }));
}

/** step moves the range by its own length into the past or back. */
export function step(p: Place, forward: boolean): void {
  const s = span(p);
  if (s.last === "all") return;
  const length = s.until - s.since;
  const until = forward ? s.until + length : s.since;
  if (forward && (s.last !== "" || until + length / 10 >= Date.now())) {
    const preset = presets.find(([v]) => lengthOf(v) === length);
    if (s.last === "") go(changed(p, { since: null, until: null, last: preset ? preset[0] : "24h", offset: null }));
    return;
  }
  setRange(p, until - length, until);
}

export function RangePicker() {
  const p = usePlace();
  const [open, set] = useState(false);
  const s = span(p);
  return (
    <div class="range">
      <Button icon="left" label="Earlier" keys="[" bare onClick={() => step(p, false)} disabled={s.last === "all"} />
      <button type="button" class="plain range-now" aria-haspopup="dialog" onClick={() => set(true)}>
        <Icon name="calendar" size={18} /><span>{rangeLabel(p)}</span><Icon name="down" size={14} />
      </button>
      <Button icon="right" label="Later" keys="]" bare onClick={() => step(p, true)} disabled={s.last !== ""} />
      {open && <RangeDialog p={p} now={s} onClose={() => set(false)} />}
    </div>
  );
}

const local = (ms: number): string => new Date(ms - new Date(ms).getTimezoneOffset() * 60e3).toISOString().slice(0, 16);

function RangeDialog({ p, now, onClose }: { p: Place; now: Span; onClose: () => void }) {
  const [from, setFrom] = useState(local(now.since));
  const [until, setUntil] = useState(local(now.until));
  const a = new Date(from).getTime();
  const b = new Date(until).getTime();
  const good = a < b;
  return (
    <Dialog title="Range of time" onClose={onClose}>
      <div class="presets">
        {presets.map(([v, text]) => (
          <button type="button" key={v} aria-pressed={v === now.last} onClick={() => {
            onClose();
            go(changed(p, { since: null, until: null, last: v, offset: null }));
          }}>{text}</button>
        ))}
      </div>
      <form class="custom" onSubmit={(e) => { e.preventDefault(); if (good) { onClose(); setRange(p, a, b); } }}>
        <label>From<input type="datetime-local" value={from} onInput={(e) => setFrom(e.currentTarget.value)} /></label>
        <label>Until<input type="datetime-local" value={until} onInput={(e) => setUntil(e.currentTarget.value)} /></label>
        <button class="primary" disabled={!good}>Show</button>
      </form>
      {!good && <p class="note bad">The end must be after the beginning.</p>}
    </Dialog>
  );
}
