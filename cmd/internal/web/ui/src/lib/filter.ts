// Filters are text in the language of `snitch log`, one "f" parameter each.

/** value quotes what the language gives a meaning. */
export const quote = (value: string): string => value.replace(/[\\*,]/g, (c) => `\\${c}`);

export const is = (field: string, value: string): string => `${field}=${quote(value)}`;
export const isNot = (field: string, value: string): string => `${field}!=${quote(value)}`;

export interface Parts {
  field: string;
  op: string;
  value: string;
}

export function parts(filter: string): Parts {
  const m = /^(!?)([a-z0-9_.]+)(!=|!~|=|~)([^]*)$/i.exec(filter);
  if (!m) return { field: "", op: "", value: filter };
  const not = m[1] === "!" || m[3]!.startsWith("!");
  const op = m[3]!.endsWith("~") ? (not ? "excludes" : "contains") : not ? "is not" : "is";
  return { field: m[2]!, op, value: m[4]!.replace(/\\(.)/g, "$1") };
}

/** negated is the opposite filter. */
export function negated(filter: string): string {
  const m = /^(!?)([a-z0-9_.]+)(!=|!~|=|~)([^]*)$/i.exec(filter);
  if (!m) return filter;
  const not = (m[1] === "!") !== m[3]!.startsWith("!");
  const op = m[3]!.endsWith("~") ? "~" : "=";
  return `${m[2]}${not ? "" : "!"}${op}${m[4]}`;
}

const labels: Record<string, string> = {
  host: "Host", exe: "Program", name: "Process name", cmdline: "Command line", sha256: "SHA-256", package: "Package", script: "Script", user: "User", uid: "User id",
  domain: "Domain", raddr: "Remote address", laddr: "Local address", rport: "Remote port", lport: "Local port", port: "Service", country: "Country",
  proto: "Protocol", family: "Family", unit: "Unit", container: "Container", cgroup: "Control group", direction: "Direction", result: "Result",
  action: "Verdict", would: "Rules said", rule: "Rule", revision: "Revision", mode: "Mode", matches: "Matching rule", novelty: "Novelty", time: "Time",
  domain_source: "Name source", sni: "Claimed name (SNI)", netns: "Network namespace", exe_view: "View", pid: "Process id", existing: "Older than snitch",
  script_sha256: "Script SHA-256",
};

export function label(field: string): string {
  for (const [prefix, word] of [["parent.", "Parent"], ["grandparent.", "Grandparent"], ["ancestor.", "Ancestor"]] as const) {
    if (field.startsWith(prefix)) {
      const own = label(field.slice(prefix.length));
      return own === "Program" ? word : `${word}: ${own.startsWith("SHA") ? own : own.toLowerCase()}`;
    }
  }
  return labels[field] ?? field;
}
