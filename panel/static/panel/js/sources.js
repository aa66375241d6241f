/** Choosing another site, and one of its good backups. */

import { call, Refused } from "./api.js";
import { say } from "./dom.js";
import { bytes, moment } from "./format.js";

const SITES = 50;
const BACKUPS = 50;
const TYPING_MS = 300;

/** Fills a fieldset with a search, a list of sites, and a list of backups. */
export class SourceChoice {
  /** `changed(backup)` is told which one is chosen, null for none. */
  constructor(box, settings, changed) {
    this.box = box;
    this.settings = settings;
    this.changed = changed;
    this.asked = 0;
    this.backups = [];
    this.#find("search").addEventListener("input", () => {
      clearTimeout(this.typing);
      this.typing = setTimeout(() => this.#orSay("sites-count", () => this.#loadSites()), TYPING_MS);
    });
    this.#find("site").addEventListener("change", () => this.#orSay("backups-count", () => this.#chooseSite()));
    this.#find("backup").addEventListener("change", () => this.changed(this.backup));
    this.#find("older").addEventListener("click", () => this.#orSay("backups-count", () => this.#loadBackups()));
  }

  /** The backup that is chosen; null for none. */
  get backup() {
    return this.backups.find((backup) => String(backup.id) === this.#find("backup").value) ?? null;
  }

  /** Begin with nothing chosen. */
  begin() {
    this.site = "";
    this.#forgetBackups();
    this.#find("search").value = "";
    this.#find("search").focus();
    this.#orSay("sites-count", () => this.#loadSites());
  }

  #find(name) {
    return this.box.querySelector(`[data-source-${name}]`);
  }

  async #orSay(place, work) {
    try {
      await work();
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      say(this.#find(place), error.message);
    }
  }

  async #loadSites() {
    const asked = (this.asked += 1);
    const query = new URLSearchParams({ search: this.#find("search").value.trim(), limit: SITES, ordering: "name" });
    const { sites, total } = await call("GET", `${this.settings.sites}?${query}`);
    // A slow answer to what is no longer searched for.
    if (asked !== this.asked) return;
    const others = sites.filter((site) => site.id !== this.settings.siteId);
    const select = this.#find("site");
    select.replaceChildren(new Option("Choose a site", ""), ...others.map(siteOption));
    const isAll = sites.length === total;
    const wanted = isAll && others.length === 1 ? String(others[0].id) : this.site;
    const isThere = others.some((site) => String(site.id) === wanted && site.backup_count > 0);
    select.value = isThere ? wanted : "";
    say(this.#find("sites-count"), sitesWords(others.length, isAll));
    if (select.value !== this.site) await this.#chooseSite();
  }

  async #chooseSite() {
    this.site = this.#find("site").value;
    this.#forgetBackups();
    this.changed(null);
    if (this.site) await this.#loadBackups();
  }

  #forgetBackups() {
    this.backups = [];
    this.skip = 0;
    this.#find("backup").replaceChildren(new Option(this.site ? "Asking …" : "Choose a site first", ""));
    this.#find("older").hidden = true;
    say(this.#find("backups-count"), "");
  }

  async #loadBackups() {
    const { site, skip } = this;
    const query = new URLSearchParams({ skip, limit: BACKUPS });
    const address = this.settings.backups.replace(/\/\d+\/backups$/, `/${site}/backups`);
    const { backups, total } = await call("GET", `${address}?${query}`);
    if (site !== this.site) return;
    const before = this.backup;
    this.skip = skip + backups.length;
    const known = new Set(this.backups.map((backup) => backup.id));
    // A backup made meanwhile moves the others to a later page.
    this.backups.push(...backups.filter((backup) => isGood(backup) && !known.has(backup.id)));
    const select = this.#find("backup");
    select.replaceChildren(...this.backups.map(backupOption));
    if (!this.backups.length) select.append(new Option("None of them is good", ""));
    const best = before ?? this.backups.find((backup) => !backup.is_suspect) ?? this.backups[0];
    select.value = best ? String(best.id) : "";
    this.#find("older").hidden = this.skip >= total || !backups.length;
    if (this.backup !== before) this.changed(this.backup);
  }
}

function isGood(backup) {
  return backup.status === "SUCCESS" && !backup.removing_since;
}

function siteOption(site) {
  const option = new Option([site.name, site.url].filter(Boolean).join(" · "), site.id);
  option.disabled = site.backup_count === 0;
  if (option.disabled) option.text += " (no backup)";
  return option;
}

function backupOption(backup) {
  const marks = [backup.proven_at ? "proven" : null, backup.is_suspect ? "suspect" : null];
  const words = [moment(backup.created_at), bytes(backup.size_bytes), ...marks].filter(Boolean);
  return new Option(words.join(" · "), backup.id);
}

function sitesWords(shown, isAll) {
  if (!isAll) return `The first ${shown} sites; type a part of a name to find others.`;
  if (shown === 0) return "No other site is called so.";
  return shown === 1 ? "1 site." : `${shown} sites.`;
}
