// Questions to the server.

import { createContext } from "preact";
import { useContext, useEffect, useRef, useState } from "preact/hooks";

export class Refusal extends Error {
  constructor(message: string, readonly hint: string | undefined, readonly code: number) {
    super(message);
  }
}

async function answer<T>(r: Response): Promise<T> {
  if (r.status === 401) throw new Refusal("You are not signed in any more.", "Open the address that snitch web prints.", 401);
  let body: unknown;
  try {
    body = await r.json();
  } catch {
    throw new Refusal(`snitch web answered ${r.status}.`, undefined, r.status);
  }
  if (!r.ok) {
    const p = body as { error?: string; hint?: string };
    throw new Refusal(p.error ?? `snitch web answered ${r.status}.`, p.hint, r.status);
  }
  return body as T;
}

async function ask(url: string, init?: RequestInit): Promise<Response> {
  try {
    return await fetch(url, { credentials: "same-origin", ...init });
  } catch (e) {
    if (e instanceof DOMException && e.name === "AbortError") throw e;
    throw new Refusal("snitch web does not answer.", "Is the command still running?", 0);
  }
}

export const get = async <T>(url: string, signal?: AbortSignal): Promise<T> => answer<T>(await ask(url, signal ? { signal } : {}));

export const post = async <T>(url: string, body: unknown, signal?: AbortSignal): Promise<T> =>
  answer<T>(await ask(url, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), ...(signal ? { signal } : {}) }));

/** Tick counts refreshes: a new number asks everything again. */
export const Tick = createContext(0);

export interface Data<T> {
  value: T | undefined; // the last answer, also while a new one is awaited
  error: Refusal | undefined;
  busy: boolean;
  again: () => void;
}

/** useData asks url ("" : nothing) whenever it or the tick changes. */
export function useData<T>(url: string, every = true): Data<T> {
  const tick = useContext(Tick);
  const [state, set] = useState<{ url: string; value?: T; error?: Refusal; busy: boolean }>({ url, busy: true });
  const [own, again] = useState(0);
  const seen = useRef(url);
  useEffect(() => {
    if (!url) {
      set({ url, busy: false });
      return;
    }
    const stop = new AbortController();
    const same = base(seen.current) === base(url);
    seen.current = url;
    set((s) => ({ ...(same ? s : {}), url, busy: true }));
    get<T>(url, stop.signal).then(
      (value) => set({ url, value, busy: false }),
      (e: unknown) => {
        if (stop.signal.aborted) return;
        set((s) => ({ ...(same && s.value !== undefined ? { value: s.value } : {}), url, error: asRefusal(e), busy: false }));
      },
    );
    return () => stop.abort();
  }, [url, every ? tick : 0, own]);
  return { value: state.value, error: state.error, busy: state.busy, again: () => again((n) => n + 1) };
}

// An answer to a question of the same kind may stand until the new one comes.
const base = (url: string): string => url.split("?")[0]!;

export const asRefusal = (e: unknown): Refusal => (e instanceof Refusal ? e : new Refusal(String(e), undefined, 0));
