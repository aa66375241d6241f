/** The schedule of a site: changing it, letting it rest, and letting it go on. */

import { busy, call } from "./api.js";
import { notice } from "./dom.js";
import { fillIn } from "./forms.js";

// What each kind of schedule is told; the others' fields are neither shown nor sent.
const FIELDS = {
  manual: [],
  daily: ["schedule_time", "time_zone", "schedule_window_minutes"],
  weekly: ["schedule_time", "weekdays", "time_zone", "schedule_window_minutes"],
  monthly: ["schedule_time", "month_days", "time_zone", "schedule_window_minutes"],
  cron: ["schedule_cron", "time_zone", "schedule_window_minutes"],
};

/** Let the buttons of the section `#schedule` work; `changed()` is called after each change. */
export function bindSchedule(section, settings, changed) {
  const changeDialog = document.getElementById("schedule-change");
  const pauseDialog = document.getElementById("schedule-pause");
  const frequency = changeDialog.querySelector("[name=schedule_frequency]");
  frequency.addEventListener("change", () => showFields(changeDialog, frequency.value));
  const works = {
    change: () => change(changeDialog, settings),
    pause: () => pause(pauseDialog, settings),
    resume: () => resume(settings),
  };
  section.addEventListener("click", (event) => {
    const button = event.target.closest("[data-schedule]");
    if (!button) return;
    busy(button, async () => {
      const done = await works[button.dataset.schedule]();
      if (done === null) return;
      notice("done", done, { kind: "good" });
      await changed();
    });
  });
}

async function change(dialog, settings) {
  const form = dialog.querySelector("form");
  fill(form, await call("GET", settings.schedule));
  showFields(dialog, form.elements.schedule_frequency.value);
  const answer = await fillIn(dialog, (values) => call("PUT", settings.schedule, bodyOf(values)));
  return answer && `The schedule of ${settings.site} is changed.`;
}

async function pause(dialog, settings) {
  const form = dialog.querySelector("form");
  form.reset();
  const answer = await fillIn(dialog, (values) =>
    call("POST", settings.pause, {
      until: values.get("until") ? new Date(values.get("until")).toISOString() : null,
      reason: values.get("reason").trim(),
    }),
  );
  return answer && `The schedule of ${settings.site} is paused.`;
}

async function resume(settings) {
  const { is_due: isDue } = await call("POST", settings.resume, {});
  const missed = isDue ? " A backup was missed meanwhile: it starts now." : "";
  return `The schedule of ${settings.site} goes on.${missed}`;
}

function fill(form, now) {
  form.reset();
  const { elements } = form;
  for (const name of ["schedule_frequency", "schedule_time", "schedule_cron", "time_zone"]) {
    elements[name].value = now[name];
  }
  elements.schedule_window_minutes.value = now.schedule_window_minutes ?? "";
  elements.schedule_window_minutes.placeholder = now.window_minutes;
  const days = now.schedule_days.split(",").filter(Boolean);
  const isWeekly = now.schedule_frequency === "weekly";
  for (const box of form.querySelectorAll("[name=weekday]")) box.checked = isWeekly && days.includes(box.value);
  elements.month_days.value = now.schedule_frequency === "monthly" ? days.join(", ") : "";
  const zones = form.querySelector("datalist");
  if (!zones.children.length) {
    const names = ["UTC", ...(Intl.supportedValuesOf?.("timeZone") ?? [])];
    zones.append(...[...new Set(names)].map((name) => new Option(name, name)));
  }
}

function showFields(dialog, frequency) {
  for (const field of dialog.querySelectorAll("[data-shown]")) {
    field.hidden = !FIELDS[frequency].includes(field.dataset.shown);
    for (const control of field.querySelectorAll("input")) control.disabled = field.hidden;
  }
}

/** What is sent: fields that are not shown are disabled, and so not among the values. */
function bodyOf(values) {
  const body = { schedule_frequency: values.get("schedule_frequency") };
  for (const name of ["schedule_time", "schedule_cron", "time_zone"]) {
    if (values.has(name)) body[name] = values.get(name).trim();
  }
  if (values.has("schedule_window_minutes")) {
    const minutes = values.get("schedule_window_minutes");
    body.schedule_window_minutes = minutes === "" ? null : Number(minutes);
  }
  if (body.schedule_frequency === "weekly") body.schedule_days = values.getAll("weekday").join(",");
  if (values.has("month_days")) body.schedule_days = values.get("month_days");
  return body;
}
