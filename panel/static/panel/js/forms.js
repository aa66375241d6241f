/** Forms in dialogs. They stay open until the panel takes what was filled in. */

import { Refused } from "./api.js";
import { element, focusHeading, say } from "./dom.js";

/**
 * Open a dialog and hand its form's values to `send` until that is not refused, with that of the
 * button that was pressed among them. Returns what `send` returned, or null for somebody who
 * thought better of it.
 */
export function fillIn(dialog, send) {
  const form = dialog.querySelector("form");
  const opener = document.activeElement;
  let sending = Promise.resolve(null);
  const onSubmit = (event) => {
    event.preventDefault();
    const values = new FormData(form, event.submitter);
    sending = sendOnce(dialog, form, () => send(values), sending);
  };
  const onCancel = () => dialog.close();
  const cancel = dialog.querySelector("[data-cancel]");
  form.addEventListener("submit", onSubmit);
  cancel.addEventListener("click", onCancel);
  sayRefusal(form, null);
  dialog.showModal();
  return new Promise((resolve) => {
    const onClose = () => {
      form.removeEventListener("submit", onSubmit);
      cancel.removeEventListener("click", onCancel);
      const section = opener?.closest("section");
      if (section && !opener.checkVisibility()) focusHeading(section);
      resolve(sending);
    };
    dialog.addEventListener("close", onClose, { once: true });
  });
}

async function sendOnce(dialog, form, send, before) {
  const buttons = [...form.querySelectorAll("[type=submit]")];
  if (buttons.some((button) => button.getAttribute("aria-disabled") === "true")) return before;
  buttons.forEach((button) => button.setAttribute("aria-disabled", "true"));
  try {
    const answer = await send();
    dialog.close();
    return answer;
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    // The page itself says that nobody is signed in any more.
    if (error.status === 401) dialog.close();
    else sayRefusal(form, error);
    return null;
  } finally {
    buttons.forEach((button) => button.removeAttribute("aria-disabled"));
  }
}

/** Say at each field what is wrong with it, and at the top what no field is to blame for. */
function sayRefusal(form, error) {
  form.querySelectorAll(".field-error").forEach((old) => old.remove());
  form.querySelectorAll("[aria-invalid]").forEach((one) => one.removeAttribute("aria-invalid"));
  let isSaid = error === null;
  for (const [name, sentences] of Object.entries(error?.fields ?? {})) {
    const fields = [...form.querySelectorAll(`[data-field~="${CSS.escape(name)}"]`)];
    const field = fields.find((one) => one.checkVisibility());
    if (!field) continue;
    field.append(element("span", { className: "field-error", role: "alert" }, sentences.join(" ")));
    field.querySelector("input, select")?.setAttribute("aria-invalid", "true");
    if (!isSaid) field.querySelector("input, select")?.focus();
    isSaid = true;
  }
  const box = form.querySelector("[data-refusal]");
  box.hidden = isSaid;
  say(box, isSaid ? "" : error.message);
  // The button was pressed at the other end of what may be longer than the window.
  if (!isSaid) box.scrollIntoView({ block: "nearest" });
}
