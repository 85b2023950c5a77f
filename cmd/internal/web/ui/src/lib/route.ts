// The address bar is the state: a view can be shared and stepped back from.

import { createContext } from "preact";
import { useContext } from "preact/hooks";

export interface Place {
  path: string;
  params: URLSearchParams;
}

export const here = (): Place => ({ path: location.pathname, params: new URLSearchParams(location.search) });

export const PlaceContext = createContext<Place>({ path: "/", params: new URLSearchParams() });
export const usePlace = (): Place => useContext(PlaceContext);

const listeners = new Set<() => void>();

export function onMove(f: () => void): () => void {
  listeners.add(f);
  addEventListener("popstate", f);
  return () => {
    listeners.delete(f);
    removeEventListener("popstate", f);
  };
}

export function href(path: string, params: URLSearchParams): string {
  const q = params.toString();
  return q ? `${path}?${q}` : path;
}

export function go(to: string, replace = false): void {
  if (to === location.pathname + location.search) return;
  if (replace) history.replaceState(null, "", to);
  else history.pushState(null, "", to);
  for (const f of listeners) f();
}

export type Change = Record<string, string | string[] | null>;

/** changed is the address with some parameters set (null: removed). */
export function changed(p: Place, change: Change, path = p.path): string {
  const q = new URLSearchParams(p.params);
  for (const [k, v] of Object.entries(change)) {
    q.delete(k);
    if (Array.isArray(v)) for (const one of v) q.append(k, one);
    else if (v !== null) q.set(k, v);
  }
  return href(path, q);
}

const spanKeys = ["last", "since", "until"];

/** spanOf keeps of the parameters only the range of time. */
export function spanOf(p: Place): URLSearchParams {
  const q = new URLSearchParams();
  for (const k of spanKeys) {
    const v = p.params.get(k);
    if (v !== null) q.set(k, v);
  }
  if (![...q.keys()].length) q.set("last", "24h");
  return q;
}

/** to is the address of another page in the same range, with these parameters. */
export function to(p: Place, path: string, change: Change = {}): string {
  const q = new URLSearchParams();
  for (const k of spanKeys) {
    const v = p.params.get(k);
    if (v !== null) q.set(k, v);
  }
  return changed({ path, params: q }, change);
}

/** onLink makes a click on one of our links a move without a reload. */
export function onLink(e: MouseEvent): void {
  const a = (e.target as Element | null)?.closest?.("a");
  if (!a || e.defaultPrevented || e.button !== 0 || e.metaKey || e.ctrlKey || e.shiftKey || e.altKey) return;
  if (a.target || a.origin !== location.origin || a.hasAttribute("download") || a.getAttribute("href")?.startsWith("#")) return;
  if (a.pathname.startsWith("/api/") || a.pathname.startsWith("/assets/")) return;
  e.preventDefault();
  go(a.pathname + a.search);
}
