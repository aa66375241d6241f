/** The dialog that asks what of a backup to restore, and where to. */

import { call } from "./api.js";
import { say } from "./dom.js";
import { fillIn } from "./forms.js";
import { moment } from "./format.js";
import { SourceChoice } from "./sources.js";
import { TableChoice } from "./tables.js";

/** Asks, and begins the restore: whatever is refused is said in the dialog, which stays open. */
export class RestoreDialog {
  constructor(dialog, settings) {
    this.dialog = dialog;
    this.form = dialog.querySelector("form");
    this.settings = settings;
    const tablesOf = (backup) => settings.tables.replace(/\/0\/tables$/, `/${backup}/tables`);
    this.tables = new TableChoice(this.#find("tables"), tablesOf);
    this.source = new SourceChoice(this.#find("source"), settings, (backup) => this.tables.begin(backup?.id ?? null));
    this.form.addEventListener("change", () => this.#showFields());
    this.form.addEventListener("keydown", (event) => {
      // Who searches or ticks begins nothing; from a copy's place it is the first button: a dry run.
      if (event.key === "Enter" && event.target.matches("input:not([type=text])")) event.preventDefault();
    });
  }

  /**
   * Return what the panel answered to the restore that was begun, or null.
   *
   * Without a `backup` it is asked for one of another site; with a `path` only that is restored;
   * `asked` are the parameters of an earlier restore, to begin with.
   */
  ask({ backup = null, path = null, asked = null }) {
    this.backup = backup;
    this.path = path;
    this.isOther = backup?.site_id !== this.settings.siteId;
    this.form.reset();
    this.tables.details.open = false;
    this.#fill(asked ?? {});
    this.tables.begin(backup?.id ?? null, asked?.tables);
    say(this.#find("what"), this.#title());
    say(this.#find("text"), this.#text());
    this.#showFields();
    const answer = fillIn(this.dialog, (values) => call("POST", this.settings.restore, this.#bodyOf(values)));
    if (backup === null) this.source.begin();
    return answer;
  }

  #find(name) {
    return this.dialog.querySelector(`[data-restore-${name}]`);
  }

  #fill(asked) {
    const { elements } = this.form;
    if (this.path !== null || !this.settings.hasDatabase) elements.what.value = "files";
    else if (asked.what) elements.what.value = asked.what;
    if (asked.target) elements.target.value = asked.target;
    elements.target_path.value = asked.target_path ?? "";
    elements.target_database.value = asked.target_database ?? "";
    elements.checkpoint.checked = asked.checkpoint ?? true;
    if (elements.rewrite_url) elements.rewrite_url.checked = asked.rewrite_url ?? true;
  }

  #title() {
    if (this.backup === null) return `a backup of another site to ${this.settings.site}`;
    const of = this.isOther ? ` of ${this.backup.site_name}` : "";
    return this.path ?? `the backup of ${moment(this.backup.created_at)}${of}`;
  }

  #text() {
    if (this.path !== null) {
      return `As it was in the backup of ${moment(this.backup.created_at)}. Nothing else of the site is touched.`;
    }
    const own = this.isOther ? `${this.settings.site} keeps its own wp-config.php. ` : "";
    return `${own}Caches, logs and other things that backups leave out stay as they are.`;
  }

  /** Show what goes with what is chosen; what is not shown is not sent. */
  #showFields() {
    const { elements } = this.form;
    const { hasDatabase, mayManage, databaseIsFile } = this.settings;
    const isCopy = elements.target.value === "copy";
    const withDatabase = hasDatabase && this.path === null && elements.what.value !== "files";
    this.#show("source", this.backup === null);
    this.#show("parts", this.path === null && hasDatabase);
    this.#show("tables", withDatabase && elements.what.value === "database");
    this.#show("copy", isCopy && mayManage);
    this.#show("copy-database", isCopy && mayManage && withDatabase && !databaseIsFile);
    this.#show("checkpoint", !isCopy);
    this.#show("rewrite", this.isOther && withDatabase && !isCopy);
  }

  #show(name, isShown) {
    const part = this.#find(name);
    part.hidden = !isShown;
    for (const control of part.querySelectorAll("input, select")) control.disabled = !isShown;
  }

  #bodyOf(values) {
    const given = ["target_path", "target_database"].filter((name) => values.get(name)?.trim());
    const { chosen, details } = this.tables;
    return {
      backup_id: this.backup?.id ?? Number(values.get("backup_id")),
      what: this.path === null && this.settings.hasDatabase ? values.get("what") : "files",
      ...(this.path !== null && { paths: [this.path] }),
      ...(!details.hidden && chosen.size && { tables: [...chosen] }),
      target: values.get("target"),
      ...Object.fromEntries(given.map((name) => [name, values.get(name)])),
      checkpoint: values.has("checkpoint"),
      ...(values.has("rewrite_url") && { rewrite_url: true }),
      dry_run: values.get("how") === "plan",
    };
  }
}
