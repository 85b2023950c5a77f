// The keys that work everywhere.

import { useLayoutEffect, useRef } from "preact/hooks";
import { go, here, to } from "./route";

/** What keys order that only the frame can do. */
export interface Orders {
  rooms: ReadonlyMap<string, string>; // path by the key after g
  help: () => void;
  refresh: () => void;
  step: (forward: boolean) => void;
}

const typing = (e: KeyboardEvent): boolean => {
  const el = e.target as HTMLElement;
  return el.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(el.tagName);
};

/** find focuses the page's field, or that of Explore, as soon as it is drawn. */
function find(now: { shown: string; find: boolean }): void {
  const drawn = now.shown === location.pathname;
  const field = drawn ? document.getElementById("find") : null;
  now.find = !field;
  if (field) field.focus();
  else if (drawn) go(to(here(), "/explore"));
}

const rows = ".alert-open, .row-open";

/** move goes to the next row or the one before, in the drawer while it is open. */
function move(by: 1 | -1): void {
  const list = [...(document.querySelector(".drawer") ?? document).querySelectorAll<HTMLElement>(rows)];
  const at = list.indexOf(document.activeElement as HTMLElement);
  list[at < 0 ? 0 : at + by]?.focus();
}

/**
 * useKeys listens while the page lives: between two pages no key is lost, and
 * after g there is no hurry. shown is the path of the page that is drawn.
 */
export function useKeys(shown: string, orders: Orders): void {
  const now = useRef({ shown, orders, find: false });
  now.current.shown = shown;
  now.current.orders = orders;
  useLayoutEffect(() => {
    if (now.current.find) find(now.current);
  }, [shown]);
  useLayoutEffect(() => {
    let leader = false;
    const act = (key: string): boolean => {
      switch (key) {
        case "?": now.current.orders.help(); break;
        case "/": find(now.current); break;
        case "[": now.current.orders.step(false); break;
        case "]": now.current.orders.step(true); break;
        case "r": now.current.orders.refresh(); break;
        case "j": move(1); break;
        case "k": move(-1); break;
        case "p": document.querySelector<HTMLElement>("[aria-keyshortcuts=p]")?.click(); break;
        default: return false;
      }
      return true;
    };
    const f = (e: KeyboardEvent): void => {
      if (/^(Shift|Control|Alt|Meta)$/.test(e.key)) return;
      const led = leader;
      leader = false;
      if (e.ctrlKey || e.metaKey || e.altKey || typing(e) || document.querySelector("dialog[open]")) return;
      const room = led ? now.current.orders.rooms.get(e.key) : undefined;
      if (room) go(to(here(), room));
      else if (e.key === "g") leader = true;
      else if (!act(e.key)) return;
      e.preventDefault();
      e.stopPropagation(); // what has the focus may know the same letter
    };
    addEventListener("keydown", f, true);
    return () => removeEventListener("keydown", f, true);
  }, []);
}
