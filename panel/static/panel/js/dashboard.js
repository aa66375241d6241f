/** The dashboard: jobs that run, live; and the rest of the page, asked for every few seconds. */

import { busy, call, hasSessionEnded, part } from "./api.js";
import { whatRuns } from "./backup.js";
import { ask } from "./dialog.js";
import { notice, pageSettings, say } from "./dom.js";
import { duration, refreshTimes } from "./format.js";
import { Live } from "./live.js";
import { replacePart } from "./parts.js";
import { bindRows } from "./rows.js";

const OVERVIEW_MS = 10000;
const CHARTS_MS = 120000;
// What a job is called, and what ending it means.
const KINDS = {
  backup: ["backup", "What it has done so far is removed. The backups that you have stay."],
  restore: ["restore", "What is not yet in its place is removed: the site is then as it was before, or as was asked."],
  verify: ["proof", "What was restored for trial is removed. The backup and the site stay as they are."],
};
const NO_JOB = "00000000-0000-0000-0000-000000000000";

const settings = pageSettings();
const running = document.getElementById("running");
const list = running.querySelector("[data-running-list]");
const connection = running.querySelector("[data-connection]");
const overview = document.querySelector("[data-overview]");
const rows = new Map();

function withQuery(address, more = "") {
  const query = [settings.query, more].filter(Boolean).join("&");
  return query ? `${address}?${query}` : address;
}

function newRow(status) {
  const row = document.getElementById("running-row").content.cloneNode(true).firstElementChild;
  const site = row.querySelector("[data-site]");
  site.textContent = status.site_name;
  site.href = settings.site.replace(/0\/$/, `${status.site_id}/`);
  const [noun] = KINDS[status.kind];
  const named = noun[0].toUpperCase() + noun.slice(1);
  row.querySelector("progress").setAttribute("aria-label", `${named} of ${status.site_name}`);
  const kind = row.querySelector("[data-kind-of]");
  kind.hidden = status.kind === "backup";
  say(kind, noun);
  const stop = row.querySelector("[data-stop]");
  stop.setAttribute("aria-label", `Stop the ${noun} of ${status.site_name}`);
  stop.addEventListener("click", () => stopJob(stop, status));
  return row;
}

async function stopJob(button, { site_name: name, job_id: job, kind }) {
  const [noun, text] = KINDS[kind];
  const title = `Stop the ${noun} of ${name}?`;
  if (!(await ask({ title, text, yes: "Stop it" }))) return;
  await busy(button, async () => {
    const answer = await call("DELETE", settings.stop.replace(NO_JOB, job));
    notice("done", `${answer.message} for ${name}`, { kind: "good" });
  });
}

function showRunning({ jobs, total }) {
  const words = settings.search.toLowerCase();
  const shown = jobs.filter((job) => job.site_name.toLowerCase().includes(words));
  const gone = new Set(rows.keys());
  let hasNew = false;
  shown.forEach((status, index) => {
    gone.delete(status.job_id);
    let row = rows.get(status.job_id);
    if (!row) {
      row = newRow(status);
      rows.set(status.job_id, row);
      hasNew = true;
    }
    update(row, status);
    if (list.children[index] !== row) list.insertBefore(row, list.children[index] ?? null);
  });
  for (const job of gone) {
    rows.get(job).remove();
    rows.delete(job);
  }
  say(running.querySelector("[data-running-count]"), String(words ? shown.length : total));
  running.querySelector("[data-running-empty]").hidden = shown.length > 0;
  const more = running.querySelector("[data-running-more]");
  more.hidden = total <= jobs.length;
  say(more, `Of ${total} these are ${words ? "found among " : ""}the ${jobs.length} furthest along.`);
  if (gone.size || hasNew) refreshOverview();
}

function update(row, status) {
  const left = status.eta_seconds === null ? "" : ` · ${duration(status.eta_seconds)} left`;
  row.querySelector("progress").value = status.progress;
  say(row.querySelector("[data-node]"), `on ${status.node}`);
  say(row.querySelector("[data-percent]"), `${status.progress} %`);
  say(row.querySelector("[data-message]"), whatRuns(status));
  say(row.querySelector("[data-detail]"), `${status.stage_detail ?? ""}${left}`);
}

let pending = null;
let chartsAt = Date.now();
let isAskedAgain = false;

/** Ask for the rest of the page; once more if somebody asks meanwhile, for that was too early. */
function refreshOverview() {
  isAskedAgain = pending !== null;
  pending ??= loadUntilFresh().finally(() => {
    pending = null;
  });
  return pending;
}

async function loadUntilFresh() {
  do {
    isAskedAgain = false;
    await loadOverview();
  } while (isAskedAgain);
}

async function loadOverview() {
  if (hasSessionEnded()) return;
  try {
    const withCharts = Date.now() - chartsAt > CHARTS_MS;
    const address = withQuery(settings.overview, withCharts ? "charts=1" : "");
    const page = new DOMParser().parseFromString(await part(address), "text/html");
    if (withCharts) chartsAt = Date.now();
    for (const fresh of page.querySelectorAll("[data-part]")) {
      replacePart(document.querySelector(`[data-part="${fresh.dataset.part}"]`), fresh);
    }
    notice("overview", null);
    refreshTimes();
  } catch (error) {
    if (error.status !== 401) notice("overview", `The page could not be brought up to date: ${error.message}`);
  }
}

new Live({
  stream: withQuery(settings.runningStream),
  poll: withQuery(settings.running),
  show: showRunning,
  tell(kind, sentence) {
    connection.dataset.kind = kind;
    say(connection, sentence);
  },
}).start();
bindRows(overview, refreshOverview);
refreshTimes();
setInterval(refreshTimes, 5000);
setInterval(refreshOverview, OVERVIEW_MS);
