// Line icons on a grid of 20, drawn for this.

const shapes = {
  overview: "M3 11.500V17h3.500v-5.500zM8.250 7v10h3.500V7zM13.500 3v14H17V3z",
  explore: "M9 3.500a5.500 5.500 0 1 1 0 11 5.500 5.500 0 0 1 0-11zM13.200 13.200 17 17",
  live: "M2.500 10h3l2-5.500 3.500 11 2.500-7 1 1.500h3",
  alerts: "M10 3 2.500 16.500h15zM10 8.500v3.500M10 14.200v.100",
  policy: "M10 2.500 3.500 5v4.500c0 4 2.700 6.700 6.500 8 3.800-1.300 6.500-4 6.500-8V5zM7.200 10l2 2 3.600-4",
  health: "M10 16.800C6 13.800 3 11.300 3 8.200A3.700 3.700 0 0 1 10 6.500a3.700 3.700 0 0 1 7 1.700c0 3.100-3 5.600-7 8.600z",
  left: "M12 4.500 6.500 10l5.500 5.500",
  right: "M8 4.500 13.500 10 8 15.500",
  close: "M5 5l10 10M15 5 5 15",
  refresh: "M16.500 10a6.500 6.500 0 1 1-2-4.700M16.500 3v3.500H13",
  sun: "M10 6.500a3.500 3.500 0 1 1 0 7 3.500 3.500 0 0 1 0-7zM10 1.500v2M10 16.500v2M1.500 10h2M16.500 10h2M4 4l1.400 1.400M14.600 14.600 16 16M16 4l-1.400 1.400M5.400 14.600 4 16",
  moon: "M16.500 11.800A7 7 0 0 1 8.200 3.500a7 7 0 1 0 8.300 8.300z",
  auto: "M10 3a7 7 0 1 0 0 14zM10 3a7 7 0 0 1 0 14",
  help: "M7.500 7.500a2.500 2.500 0 1 1 3.600 2.200c-.800.400-1.100 1-1.100 1.800M10 14.500v.100M10 2.500a7.500 7.500 0 1 1 0 15 7.500 7.500 0 0 1 0-15z",
  plus: "M10 4.500v11M4.500 10h11",
  minus: "M4.500 10h11",
  export: "M10 3v9M6.500 8.500 10 12l3.500-3.500M3.500 13.500V17h13v-3.500",
  pause: "M7 4.500v11M13 4.500v11",
  play: "M6.500 4 16 10l-9.500 6z",
  copy: "M7 7h9.500v9.500H7zM13 7V3.500H3.500V13H7",
  check: "M4 10.500 8 14.500 16 5.500",
  down: "M5 7.500 10 12.500l5-5",
  calendar: "M3.500 5h13v12h-13zM3.500 8.500h13M7 3v3M13 3v3",
  out: "M8 4H4v12h4M8 10h9M13.500 6.500 17 10l-3.500 3.500",
  more: "M4.500 10h.100M10 10h.100M15.500 10h.100",
} as const;

export type IconName = keyof typeof shapes;

export function Icon({ name, size = 20 }: { name: IconName; size?: number }) {
  return (
    <svg class="icon" width={size} height={size} viewBox="0 0 20 20" aria-hidden="true" focusable="false">
      <path d={shapes[name]} />
    </svg>
  );
}

/** The mark: an eye that sees where packets go. */
export function Mark() {
  return (
    <svg width="28" height="28" viewBox="0 0 32 32" aria-hidden="true" focusable="false">
      <rect width="32" height="32" rx="8" class="mark-ground" />
      <path d="M7 16c3-5 6-7.500 9-7.500s6 2.500 9 7.500c-3 5-6 7.500-9 7.500S10 21 7 16z" class="mark-line" />
      <circle cx="16" cy="16" r="3.400" class="mark-eye" />
    </svg>
  );
}
