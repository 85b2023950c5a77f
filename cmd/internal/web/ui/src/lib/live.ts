// The live feed. Tabs share one stream: the one that holds the lock reads it
// and tells the others; when it goes, the next one takes the lock.

import { useEffect, useRef, useState } from "preact/hooks";
import type { LiveMessage } from "./types";

export interface LiveState {
  connected: boolean;
  why?: string;
}

type Event_ = { kind: "rows"; rows: LiveMessage[] } | { kind: "lost"; n: number } | { kind: "state"; state: LiveState };

/** follow reads the stream with these filters until stop is called. */
function follow(filters: string[], tell: (e: Event_) => void): () => void {
  const query = filters.map((f) => `f=${encodeURIComponent(f)}`).join("&");
  const url = `/api/live${query ? `?${query}` : ""}`;
  const channel = new BroadcastChannel(`snitch ${url}`);
  const stop = new AbortController();
  let last: Event_ = { kind: "state", state: { connected: false } };
  let close: () => void = () => undefined;
  channel.onmessage = (m: MessageEvent<Event_ | "hello">) => {
    if (m.data === "hello") {
      if (leads) channel.postMessage(last);
    } else tell(m.data);
  };
  let leads = false;
  channel.postMessage("hello");
  const lead = (): Promise<void> => new Promise((done) => {
    leads = true;
    const source = new EventSource(url);
    const both = (e: Event_): void => {
      if (e.kind === "state") last = e;
      tell(e);
      channel.postMessage(e);
    };
    source.addEventListener("rows", (m) => both({ kind: "rows", rows: JSON.parse(m.data as string) as LiveMessage[] }));
    source.addEventListener("lost", (m) => both({ kind: "lost", n: Number(m.data) }));
    source.addEventListener("state", (m) => both({ kind: "state", state: JSON.parse(m.data as string) as LiveState }));
    source.onerror = () => both({ kind: "state", state: { connected: false, why: source.readyState === EventSource.CLOSED ? "snitch web refused the stream" : "snitch web does not answer" } });
    close = () => {
      source.close();
      done();
    };
    if (stop.signal.aborted) close();
  });
  // Without a secure context (another host, plain HTTP) there are no locks.
  if (navigator.locks) navigator.locks.request(`snitch ${url}`, { signal: stop.signal }, lead).catch(() => undefined);
  else void lead();
  return () => {
    stop.abort();
    close();
    channel.close();
  };
}

export interface Live {
  rows: LiveMessage[]; // the newest first
  state: LiveState;
  lost: number;
  seen: number; // connections since the page began to listen
}

const keyOf = (m: LiveMessage): string => `${m.id}/${m.record.time}`;

/** useLive keeps the newest connections, most of them; a paused one stands still. */
export function useLive(filters: string[], most: number, paused: boolean, onRows?: (rows: LiveMessage[]) => void): Live {
  const [live, set] = useState<Live>({ rows: [], state: { connected: false }, lost: 0, seen: 0 });
  const still = useRef(paused);
  still.current = paused;
  const hook = useRef(onRows);
  hook.current = onRows;
  const key = filters.join("\n");
  useEffect(() => {
    set({ rows: [], state: { connected: false }, lost: 0, seen: 0 });
    let stop: (() => void) | null = null;
    const start = (): void => {
      stop ??= follow(filters, (e) => {
        if (e.kind === "state") return set((l) => ({ ...l, state: e.state }));
        if (e.kind === "lost") return set((l) => ({ ...l, lost: l.lost + e.n }));
        hook.current?.(e.rows);
        if (still.current) return undefined;
        return set((l) => merge(l, e.rows, most));
      });
    };
    // A tab that nobody sees gives its stream to the others.
    const seen = (): void => {
      if (document.hidden) {
        stop?.();
        stop = null;
      } else start();
    };
    seen();
    document.addEventListener("visibilitychange", seen);
    return () => {
      document.removeEventListener("visibilitychange", seen);
      stop?.();
    };
  }, [key, most]);
  return live;
}

function merge(l: Live, rows: LiveMessage[], most: number): Live {
  const fresh = new Map(rows.map((m) => [keyOf(m), m]));
  const kept = l.rows.map((m) => {
    const k = keyOf(m);
    const newer = fresh.get(k);
    if (newer) fresh.delete(k);
    return newer ?? m;
  });
  return { ...l, rows: [...[...fresh.values()].reverse(), ...kept].slice(0, most), seen: l.seen + fresh.size };
}
