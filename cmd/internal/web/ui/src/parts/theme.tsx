// Dark and light: as the system has it, or as the person says.

import { createContext } from "preact";
import { useContext, useEffect, useState } from "preact/hooks";

export type Theme = "auto" | "light" | "dark";

const root = document.documentElement;
const dark = matchMedia("(prefers-color-scheme: dark)");

export const chosen = (): Theme => {
  const t = root.dataset["theme"];
  return t === "light" || t === "dark" ? t : "auto";
};

/** choose keeps the choice in a cookie, which the server draws the first paint by. */
export function choose(t: Theme): void {
  if (t === "auto") delete root.dataset["theme"];
  else root.dataset["theme"] = t;
  document.cookie = `snitch-theme=${t}; Path=/; SameSite=Strict; Max-Age=${t === "auto" ? 0 : 31536000}`;
  dispatchEvent(new Event("snitch-theme"));
}

const resolved = (): string => (chosen() === "auto" ? (dark.matches ? "dark" : "light") : chosen());

export const ThemeContext = createContext("light");

/** useThemeName changes when the colours do. */
export const useThemeName = (): string => useContext(ThemeContext);

export function useTheme(): string {
  const [name, set] = useState(resolved());
  useEffect(() => {
    const f = (): void => set(resolved());
    dark.addEventListener("change", f);
    addEventListener("snitch-theme", f);
    return () => {
      dark.removeEventListener("change", f);
      removeEventListener("snitch-theme", f);
    };
  }, []);
  return name;
}
