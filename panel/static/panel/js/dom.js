/** Building and changing what is shown. Text is always set as text, never as markup. */

/** An element with properties and children; a child that is null is left out. */
export function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key === "dataset") Object.assign(made.dataset, value);
    else if (key in made) made[key] = value;
    else made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** A moment that is kept up to date by `refreshTimes`. */
export function timeElement(text) {
  return element("time", { dateTime: text, dataset: { ago: "" } }, text);
}

/** Words for screen readers alone. */
export function unseen(text) {
  return element("span", { className: "visually-hidden" }, text);
}

/** Change the text of an element, unless it says so already. */
export function say(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

/** What the server wrote into the page for its script. */
export function pageSettings() {
  const island = document.getElementById("page-settings");
  return island ? JSON.parse(island.textContent) : {};
}

// How long a sentence stays that says that all went well.
const GOOD_MS = 15000;

/** Show a sentence at the top of the page; one of the same key is replaced. Null takes it away. */
export function notice(key, sentence, { kind = "bad", link = null } = {}) {
  const box = document.getElementById("notices");
  const old = box.querySelector(`[data-key="${key}"]`);
  if (sentence === null) {
    old?.remove();
    return;
  }
  const role = kind === "bad" ? "alert" : "status";
  const made = element("p", { className: `notice notice-${kind}`, role, dataset: { key } }, sentence);
  if (link) made.append(" ", element("a", { href: link.href }, link.text));
  if (old?.textContent === made.textContent) return;
  if (old) old.replaceWith(made);
  else box.append(made);
  if (kind === "good") setTimeout(() => made.remove(), GOOD_MS);
}

/** Be at the heading of a section, since what had the focus in it is gone. */
export function focusHeading(section) {
  const heading = section.querySelector("h1, h2");
  heading.tabIndex = -1;
  heading.focus({ preventScroll: true });
}
