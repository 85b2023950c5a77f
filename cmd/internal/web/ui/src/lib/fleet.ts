// Whether the record is that of several hosts.

/** fleet: `snitch web --db` shows the copy of a server; no daemon is behind it. */
export const fleet = document.documentElement.dataset["fleet"] !== undefined;
