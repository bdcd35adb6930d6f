// What people do on the pages. They find things by role and label, as a screen reader does.

import { linkIn } from "./portal.mjs";

export const PASSWORD = "three sluices and a weir";
export const OPEN_MODEL = "sluice/opt-verse-6m";
export const GATED_MODEL = "sluice/opt-verse-6m-gated";

// From nothing to signed in, by way of the mail.
export async function signUp(portal, page, name, email) {
  await page.goto("/sign-up");
  await page.getByLabel("Name").fill(name);
  await page.getByLabel("E-mail address").fill(email);
  await page.getByRole("button", { name: "Sign up" }).click();
  await page.getByRole("heading", { name: "Check your mail" }).waitFor();
  await page.goto(linkIn(await portal.mailTo(email, /confirm/i)));
  await page.getByLabel("Password").fill(PASSWORD);
  await page.getByRole("button", { name: "Save and sign in" }).click();
  await page.getByRole("button", { name: "Sign out" }).waitFor();
}

export async function signIn(page, email) {
  await page.goto("/sign-in");
  await page.getByLabel("E-mail address").fill(email);
  await page.getByLabel("Password").fill(PASSWORD);
  await page.getByRole("main").getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("button", { name: "Sign out" }).waitFor();
}

export async function addPerson(portal, email, name, role) {
  await portal.sluice(["user", "add", email, "--name", name, "--role", role, "--password-stdin"], `${PASSWORD}\n`);
}

const SUMMARY =
  "Small language models are said to copy less of what they were trained on than large ones. We measure how many lines of verse a model " +
  "repeats word for word when it is given their beginning, compare this with how often each line stood in the training text, and ask whether " +
  "removing repeated lines changes the answer. The model is needed because its training text is public and can be counted.";
const LAY_SUMMARY = "We want to know whether a small language model learns poems by heart, and which ones, by letting it finish lines and counting.";

// One answer each: [what it is, its label, what is given].
export const ANSWERS = [
  ["select", "Your role", "Academic staff"],
  ["text", "Organisation", "University of the Canal"],
  ["select", "Country", "Netherlands"],
  ["text", "Title", "Do small models learn verse by heart?"],
  ["text", "Research summary", SUMMARY],
  ["text", "In plain words", LAY_SUMMARY],
  ["text", "Research areas", "memorisation, evaluation"],
  ["tick", "Evaluation"],
  ["text", "For how many months", "6"],
  ["select", "Is anything about the project commercial?", "No"],
  ["select", "Will you make weights from these?", "No"],
  ["select", "Where weights and computing will be", "At my institution"],
  ["text", "Where exactly", "The department's cluster, room 2.14"],
  ["tick", "The disk is encrypted"],
  ["text", "Security contact", "security@canal.example"],
  ["select", "I am agreeing", "on my own behalf"],
];

export async function answer(page, answers) {
  for (const [kind, label, value] of answers) {
    if (kind === "tick") await page.getByRole("checkbox", { name: label }).check();
    else if (kind === "select") await page.getByRole("combobox", { name: label }).selectOption({ label: value });
    else await page.getByLabel(label, { exact: true }).fill(value);
  }
}

// Ticks every clause of licence and portal.
export async function agree(page) {
  for (const terms of ["Under the licence", "Under the terms of this portal"]) {
    for (const clause of await page.getByRole("group", { name: terms }).getByRole("checkbox").all()) await clause.check();
  }
}

// Applies for a model with every answer given.
export async function apply(page, model) {
  await page.goto(`/${model}/apply`);
  await answer(page, ANSWERS);
  await agree(page);
  await page.getByRole("button", { name: "Send application" }).click();
  await page.getByRole("heading", { level: 1, name: "Application for" }).waitFor();
}

// `days` from today, as a date field takes it.
export function inDays(days) {
  return new Date(Date.now() + days * 86_400_000).toISOString().slice(0, 10);
}
