/** Asking before something that cannot be taken back. */

import { focusHeading } from "./dom.js";

/**
 * Ask, and return null for no, or `{choice}`: whether the box in it was ticked. `choice` is the
 * sentence beside that box; without it there is none.
 */
export function ask({ title, text, yes, choice = null }) {
  const dialog = document.getElementById("question");
  const box = dialog.querySelector("[name=choice]");
  dialog.querySelector("[data-title]").textContent = title;
  dialog.querySelector("[data-text]").textContent = text;
  dialog.querySelector("[data-yes]").textContent = yes;
  dialog.querySelector("[data-choice]").hidden = choice === null;
  dialog.querySelector("[data-choice-text]").textContent = choice ?? "";
  box.checked = false;
  const opener = document.activeElement;
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener(
      "close",
      () => {
        const section = opener?.closest("section");
        if (section && !opener.checkVisibility()) focusHeading(section);
        resolve(dialog.returnValue === "yes" ? { choice: box.checked } : null);
      },
      { once: true },
    );
  });
}
