/** The list of sites: backing up from it. */

import { notice } from "./dom.js";
import { refreshTimes } from "./format.js";
import { bindRows } from "./rows.js";

bindRows(document.getElementById("sites"));
refreshTimes();
setInterval(refreshTimes, 10000);
window.addEventListener("pageshow", () => notice("refused", null));
