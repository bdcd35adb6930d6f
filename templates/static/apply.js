// Keeps the draft while somebody writes. Without this file there is the button "Save draft".
"use strict";

const form = document.querySelector("form[data-autosave]");
const told = document.getElementById("autosave");
const PAUSE_MS = 3_000;
const LOOK_AGAIN_MS = 500;
let timer = 0;
let saving = false;
let unsaved = false;
let stopped = false;

function later(ms) {
    clearTimeout(timer);
    timer = setTimeout(save, ms);
}

async function save() {
    if (saving || stopped || !unsaved) return;
    clearTimeout(timer);
    [saving, unsaved] = [true, false];
    const body = new URLSearchParams(new FormData(form));
    const answer = await send(body, true).catch(() => send(body, false)).catch(() => null);
    saving = false;
    if (answer?.ok) await saved(answer);
    else notSaved(answer?.status);
    // What was written while it was on its way is saved next; nobody comes back for it once the page is left.
    if (unsaved) later(answer?.ok ? (document.hidden ? 0 : PAUSE_MS) : 5 * PAUSE_MS);
}

// With `keepalive` it arrives even if the page is left meanwhile; long texts are refused that, and go without.
function send(body, keepalive) {
    return fetch(form.dataset.autosave, { method: "POST", body, keepalive, headers: { accept: "application/json" } });
}

async function saved(answer) {
    const { version, saved_at, sections } = await answer.json();
    form.querySelector("input[name=version]").value = version;
    told.textContent = `Draft saved on ${saved_at}`;
    for (const counter of document.querySelectorAll("[data-section]")) {
        const section = sections.find(({ id }) => id === counter.dataset.section);
        if (section) counter.textContent = `${section.answered} of ${section.needed} answered`;
    }
}

function notSaved(status) {
    unsaved = true;
    if (status === 409) {
        stopped = true;
        told.textContent = "Not saved: this application changed in another window. Whichever button you press says so first, and shows both.";
    } else if (status === 401) {
        const link = document.createElement("a");
        link.href = `/sign-in?then=${encodeURIComponent(location.pathname)}`;
        link.target = "_blank";
        link.textContent = "Sign in in another tab";
        told.replaceChildren("You have been signed out. ", link, "; this page keeps your text.");
    } else {
        told.textContent = "Not saved yet; it will be tried again.";
    }
}

form?.addEventListener("input", () => {
    unsaved = true;
    later(PAUSE_MS);
});
form?.addEventListener("submit", () => {
    stopped = true;
    clearTimeout(timer);
});
// Left or hidden, the page may not be seen again; seen again, somebody may have signed in elsewhere. Opened again before what was saved
// in leaving has arrived, it shows what was there before: it looks once more, unless somebody writes already.
if (form) {
    const left = `left ${form.dataset.autosave}`;
    const version = () => form.querySelector("input[name=version]").value;
    const seen = sessionStorage.getItem(left);
    sessionStorage.removeItem(left);
    if (seen === version()) setTimeout(() => unsaved || location.reload(), LOOK_AGAIN_MS);
    document.addEventListener("visibilitychange", save);
    addEventListener("pagehide", () => {
        if ((unsaved || saving) && !stopped) sessionStorage.setItem(left, version());
        save();
    });
}
