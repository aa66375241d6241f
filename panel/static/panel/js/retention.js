/** What is kept of a site's backups: the rules, what goes next and why, and changing the rules. */

import { busy, call, Refused } from "./api.js";
import { element, notice, say, timeElement } from "./dom.js";
import { fillIn } from "./forms.js";
import { bytes, moment, refreshTimes } from "./format.js";

const RULES = {
  keep_last: ["the newest backup", (number) => `the newest ${number} backups`],
  daily: ["one of the last day", (number) => `one of each of the last ${number} days`],
  weekly: ["one of the last week", (number) => `one of each of the last ${number} weeks`],
  monthly: ["one of the last month", (number) => `one of each of the last ${number} months`],
  yearly: ["one of the last year", (number) => `one of each of the last ${number} years`],
};
const SHOWN = 200;
const TYPING_MS = 400;

/** Fills the section `#retention`. */
export class Retention {
  /** `judged(going)` is told what goes: a map from a backup's id to the reason. */
  constructor(section, settings, { judged }) {
    this.section = section;
    this.settings = settings;
    this.judged = judged;
    this.dialog = document.getElementById("retention-change");
    section.querySelector("[data-retention-change]").addEventListener("click", (event) => {
      const button = event.currentTarget;
      busy(button, () => this.#change());
    });
    this.dialog.querySelector("form").addEventListener("input", () => {
      clearTimeout(this.typing);
      this.typing = setTimeout(() => this.#preview(), TYPING_MS);
    });
  }

  /** Ask what is kept, and show it; or why that is not known, which holds up nothing else. */
  async load() {
    try {
      this.#show(await call("GET", this.settings.retention));
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      say(this.#find("goes"), `What is kept could not be read: ${error.message}`);
    }
  }

  #find(name) {
    return this.section.querySelector(`[data-retention-${name}]`);
  }

  #show(plan) {
    const { keep, remove, policy, origins, last_run: run, is_applied: isApplied } = plan;
    say(this.#find("words"), wordsOf(policy, origins));
    say(this.#find("goes"), goesNext(remove, isApplied));
    const problem = this.#find("problem");
    problem.hidden = !run?.error;
    say(problem, `The last time nothing could be removed: ${run?.error}`);
    const all = [...keep.map((one) => [one, true]), ...remove.map((one) => [one, false])];
    all.sort(([one], [other]) => (one.created_at < other.created_at ? 1 : -1));
    this.#find("list").hidden = all.length === 0;
    this.#find("rows").replaceChildren(...all.slice(0, SHOWN).map(([one, stays]) => row(one, stays)));
    refreshTimes(this.section);
    this.judged(new Map(remove.map((one) => [one.backup_id, one.reasons[0]])));
  }

  async #change() {
    const form = this.dialog.querySelector("form");
    const { own, policy, origins } = await call("GET", this.settings.retention);
    this.own = own;
    for (const rule of Object.keys(RULES)) {
      const field = form.elements[rule];
      field.value = own[rule] ?? "";
      field.placeholder = origins[rule] === "site" ? "" : (policy[rule] ?? 0);
    }
    this.#preview();
    const plan = await fillIn(this.dialog, (values) => call("PUT", this.settings.retention, rulesOf(values)));
    if (plan === null) return;
    this.#show(plan);
    notice("done", `The rules for the backups of ${this.settings.site} are changed.`, { kind: "good" });
  }

  /** Say what the rules in the form would remove. */
  async #preview() {
    const line = this.dialog.querySelector("[data-retention-preview]");
    const rules = Object.entries(rulesOf(new FormData(this.dialog.querySelector("form"))));
    if (rules.some(([rule, value]) => value === null && this.own[rule] !== null)) {
      say(line, "What is empty is as the node says, or this panel's settings.");
      return;
    }
    const query = new URLSearchParams(rules.filter(([, value]) => value !== null));
    try {
      const { remove, remove_bytes: freed } = await call("GET", `${this.settings.retention}?${query}`);
      const room = remove.length ? ` ${bytes(freed)} would be free.` : "";
      say(line, `With these rules: ${goesNext(remove, true)}${room}`);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      say(line, error.message);
    }
  }
}

function rulesOf(values) {
  const number = (text) => (text === "" ? null : Number(text));
  return Object.fromEntries(Object.keys(RULES).map((rule) => [rule, number(values.get(rule))]));
}

function wordsOf(policy, origins) {
  const said = Object.entries(RULES)
    .filter(([rule]) => policy[rule])
    .map(([rule, [one, many]]) => (policy[rule] === 1 ? one : many(policy[rule])));
  const levels = new Set(Object.keys(RULES).filter((rule) => policy[rule]).map((rule) => origins[rule]));
  const by = { site: "by the site's own rules", node: "as its node says", default: "as this panel's settings say" };
  const whose = levels.size === 1 ? `, ${by[[...levels][0]] ?? ""}` : "";
  return `Kept: ${said.join(", ") || "only what always stays"}${whose}.`;
}

function goesNext(remove, isApplied) {
  if (!remove.length) return "Nothing goes.";
  const oldest = remove[remove.length - 1];
  const first = `the one of ${moment(oldest.created_at)} (${oldest.reasons[0]})`;
  const words = remove.length === 1 ? `1 backup goes next: ${first}` : `${remove.length} backups go next, the oldest is ${first}`;
  return isApplied ? `${words}.` : `Nothing is removed by itself, since retention is off; else ${words}.`;
}

function row(one, stays) {
  const badge = element("span", { className: `badge badge-${stays ? "completed" : "warning"}` }, stays ? "stays" : "goes");
  return element(
    "tr",
    {},
    element("th", { scope: "row" }, timeElement(one.created_at)),
    element("td", { dataset: { label: "It" } }, badge),
    element("td", { className: "number", dataset: { label: "Size" } }, bytes(one.size_bytes)),
    element("td", { dataset: { label: "Why" } }, one.reasons.join("; ")),
  );
}
