// Keeps the draft while somebody writes. Without this file there is the button "Save draft".
"use strict";

const form = document.querySelector("form[data-autosave]");
const told = document.getElementById("autosave");
const PAUSE_MS = 3_000;
let timer = 0;
let saving = false;
let stopped = false;

async function save() {
    timer = 0;
    if (saving || stopped) return;
    saving = true;
    const answer = await fetch(form.dataset.autosave, {
        method: "POST",
        body: new URLSearchParams(new FormData(form)),
        headers: { accept: "application/json" },
    }).catch(() => null);
    saving = false;
    if (answer?.ok) {
        const { version, saved_at } = await answer.json();
        form.querySelector("input[name=version]").value = version;
        told.textContent = `Draft saved on ${saved_at}`;
    } else if (answer?.status === 409) {
        stopped = true;
        told.textContent = "Not saved: this application changed in another window. Whichever button you press says so first, and shows both.";
    } else {
        told.textContent = "Not saved yet; it will be tried again.";
        timer = setTimeout(save, 5 * PAUSE_MS);
    }
}

form?.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(save, PAUSE_MS);
});
form?.addEventListener("submit", () => {
    stopped = true;
    clearTimeout(timer);
});
