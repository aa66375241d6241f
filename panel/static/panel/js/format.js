/** Figures as people read them. */

const UNITS = ["bytes", "KB", "MB", "GB", "TB", "PB"];

/** A size in units of 1024, spelled as the server spells them: 1.4 GB. */
export function bytes(number) {
  let value = number;
  let unit = 0;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit ? value.toFixed(1) : value} ${UNITS[unit]}`;
}

/** A time span in its two largest units, as 4 m 10 s. */
export function duration(seconds) {
  const whole = Math.round(seconds);
  if (whole < 1) return "under 1 s";
  const parts = [
    [Math.floor(whole / 86400), "d"],
    [Math.floor(whole / 3600) % 24, "h"],
    [Math.floor(whole / 60) % 60, "m"],
    [whole % 60, "s"],
  ];
  const first = parts.findIndex(([number]) => number > 0);
  return parts
    .slice(first, first + 2)
    .filter(([number]) => number > 0)
    .map(([number, unit]) => `${number} ${unit}`)
    .join(" ");
}

// How far this computer's clock is ahead of the panel's; small differences are the network's.
let aheadMs = 0;
const TOLERANCE_MS = 5000;

/** Learn what the panel's clock says, so that times are told by it. */
export function setClock(panelMs) {
  const difference = Date.now() - panelMs;
  aheadMs = Math.abs(difference) > TOLERANCE_MS ? difference : 0;
}

/** A moment relative to now, as 3 hours ago or in 2 days. */
export function ago(moment, now = Date.now() - aheadMs) {
  const seconds = (moment - now) / 1000;
  const words = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
  const spans = [
    [86400, "day"],
    [3600, "hour"],
    [60, "minute"],
  ];
  for (const [span, unit] of spans) {
    if (Math.abs(seconds) >= span) return words.format(Math.round(seconds / span), unit);
  }
  return Math.abs(seconds) < 10 ? "just now" : words.format(Math.round(seconds), "second");
}

/** A moment by the viewer's own clock and zone. */
export function moment(text) {
  return new Date(text).toLocaleString([], { dateStyle: "medium", timeStyle: "medium" });
}

/** Say of each <time data-ago> how long ago it is; the exact moment is in its title. */
export function refreshTimes(root = document) {
  for (const time of root.querySelectorAll("time[data-ago]")) {
    const text = ago(new Date(time.dateTime));
    if (time.textContent !== text) time.textContent = text;
    if (!time.title) time.title = moment(time.dateTime);
  }
}
