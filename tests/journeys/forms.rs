//! The form is data: an admin changes what is asked, and nobody who is writing or waiting loses anything by it.

use reqwest::Method;
use server::ids::ModelId;
use sqlx::PgPool;
use tests::{Page, Person, TestPortal};
use time::Duration;

use crate::gated::{answers, applies_for, gated};

const APPLY: &str = "/demo/tiny-opt/apply";

pub fn base(model: ModelId) -> String {
    format!("/admin/models/{model}/form")
}

/// The number of the draft that the page is about.
fn edition(page: &Page) -> String {
    let (_, rest) = page.text.split_once("name=\"edition\" value=\"").unwrap_or_else(|| panic!("no draft: {}", page.text));
    rest.split('"').next().unwrap().to_owned()
}

/// Sends a form of the editor, for the draft as it is now.
pub async fn edits(admin: &Person, base: &str, path: &str, fields: &[(&str, &str)]) -> Page {
    let edition = edition(&admin.get(base).await);
    let fields: Vec<(&str, &str)> = fields.iter().copied().chain([("edition", edition.as_str())]).collect();
    admin.post(&format!("{base}/{path}"), &fields).await
}

#[track_caller]
pub fn done(page: &Page) {
    assert_eq!(page.status, 303, "{}", page.text);
}

/// Begins a draft, adds a question that has to be answered, and publishes.
async fn asks_for_group_size(admin: &Person, base: &str, version: &str) {
    done(&admin.post(&format!("{base}/start"), &[("version", version)]).await);
    let question = [
        ("section", "project"),
        ("label", "Size of your group"),
        ("kind", "choice"),
        ("values", "Up to 5\nmany: More"),
        ("need", "always"),
    ];
    let page = edits(admin, base, "new/questions", &question).await;
    assert_eq!((page.status, page.location()), (303, format!("{base}#question-size_of_your_group").as_str()), "{}", page.text);
    done(&edits(admin, base, "publish", &[]).await);
}

async fn sends(person: &Person, fields: &[(String, String)]) -> Page {
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    person.post(APPLY, &fields).await
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_question_is_added_and_everybody_answers_the_form_they_were_shown(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let model = gated(&portal, "tiny-opt").await;
    let (root, grace) = (portal.admin("root").await, portal.reviewer("grace").await);
    let (ada, bob, eve) = (portal.researcher("ada").await, portal.researcher("bob").await, portal.researcher("eve").await);
    let base = base(model);

    let early = applies_for(&ada, "/demo/tiny-opt").await;
    let mut old_page = answers(&bob, "/demo/tiny-opt").await;
    old_page.push(("department".into(), "Logic".into()));

    root.get("/admin/models").await.says(&base);
    root.get(&base).await.says("the form that comes with the portal").says("Research summary").says("Edit a copy");
    done(&root.post(&format!("{base}/start"), &[("version", "0")]).await);
    root.get(&base).await.says("This is a draft").says("root changed it on");
    let question = [
        ("section", "project"),
        ("label", "Size of your group"),
        ("kind", "choice"),
        ("values", "Up to 5\nmany: More"),
        ("need", "always"),
    ];
    done(&edits(&root, &base, "new/questions", &question).await);
    done(&edits(&root, &base, "questions/size_of_your_group/move", &[("way", "up")]).await);
    done(&edits(&root, &base, "questions/department/remove", &[]).await);
    root.get(&format!("{base}/preview"))
        .await
        .says("Size of your group")
        .says("Nothing can be sent from here")
        .says("Non-commercial research licence");
    assert!(!root.get(&format!("{base}/preview")).await.text.contains("Send application"));
    eve.get(APPLY).await.says("Department or group");
    root.get(&format!("{base}/compare"))
        .await
        .says("Removed")
        .says("Added")
        .says("Publish version 1")
        .says("ada")
        .says(&early.replace("applications", "review"));
    portal.wait(Duration::days(1));
    root.signs_in().await;
    done(&edits(&root, &base, "publish", &[]).await);
    root.get(&base).await.says("Version 1").says("Asked now").says("Applicants are asked version 1");
    root.get("/admin/audit?kind=form.published").await.says("form.published");

    // Who had the old page open is told, and loses nothing.
    let page = sends(&bob, &old_page).await;
    assert_eq!(page.status, 422, "{}", page.text);
    page.says("changed while you were writing").says("Size of your group</a>: Choose one").says("Negation in language models");
    page.says("No longer asked").says("Department or group").says("Logic");
    bob.get(APPLY).await.says("The form has changed since you wrote").says("Negation in language models").says("Logic");
    let mut fields = answers(&bob, "/demo/tiny-opt").await;
    let typed: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    done(&bob.post(&format!("{APPLY}/draft"), &typed).await);
    bob.get(APPLY).await.says("No longer asked").says("Logic").says("They stay here until you send this one");
    assert_eq!(sends(&bob, &fields).await.status, 422);
    bob.get(APPLY).await.says("No longer asked").says("Logic");
    fields.push(("size_of_your_group".into(), "many".into()));
    let page = sends(&bob, &fields).await;
    done(&page);
    let kept = "select answers::text from application where id = $1 union all select answers::text from application_sending where application_id = $1";
    let id: server::ids::ApplicationId = page.location().rsplit('/').next().unwrap().parse().unwrap();
    let kept: Vec<String> = sqlx::query_scalar(kept).bind(id.uuid()).fetch_all(&portal.portal.db).await.unwrap();
    assert!(kept.len() == 2 && kept.iter().all(|answers| !answers.contains("Logic")), "{kept:?}");
    bob.get(page.location()).await.says("Size of your group").says("More");
    grace.get(&page.location().replace("applications", "review")).await.says("Size of your group").says("<p>More</p>");

    // A newcomer has to answer; what was sent before is read with its own questions.
    let page = sends(&eve, &answers(&eve, "/demo/tiny-opt").await).await;
    assert_eq!(page.status, 422);
    page.says("1 answer needs another look").says("Size of your group</a>: Choose one");
    assert!(!page.text.contains("changed while"), "{}", page.text);
    let case = grace.get(&early.replace("applications", "review")).await;
    case.says("Negation in language models");
    assert!(!case.text.contains("Size of your group"));
    assert!(!ada.get(&early).await.text.contains("Size of your group"));
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn an_answer_is_read_with_the_words_of_its_form_even_when_they_are_gone(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let model = gated(&portal, "tiny-opt").await;
    let (root, ada) = (portal.admin("root").await, portal.researcher("ada").await);
    let early = applies_for(&ada, "/demo/tiny-opt").await;
    let base = base(model);
    done(&root.post(&format!("{base}/start"), &[("version", "0")]).await);
    let role = [
        ("section", "you"),
        ("name", "role"),
        ("label", "Your calling"),
        ("kind", "choice"),
        ("values", "wizard: Wizard\nwitch: Witch"),
        ("need", "always"),
    ];
    done(&edits(&root, &base, "questions/role", &role).await);
    // The sponsor's questions wait for roles that are gone: told, and in the way.
    root.get(&base).await.says("What has to be fixed before publishing").says("question sponsor_name").says("which it can never be");
    let page = edits(&root, &base, "publish", &[]).await;
    assert_eq!(page.status, 409);
    page.says("3 things have to be fixed before publishing");
    for name in ["sponsor_name", "sponsor_email", "sponsor_relation"] {
        done(&edits(&root, &base, &format!("questions/{name}/remove"), &[]).await);
    }
    done(&edits(&root, &base, "sections/sponsor/remove", &[]).await);
    done(&edits(&root, &base, "publish", &[]).await);
    root.get("/review").await.says("Academic staff");
    root.get(&early.replace("applications", "review")).await.says("Your role").says("Academic staff");
    ada.get(&early).await.says("Academic staff");
    let page = ada.post(&format!("{early}/withdraw"), &[]).await;
    done(&page);
    // A copy brings along what still has a place.
    ada.get(APPLY).await.says("Your calling").says("No longer asked").says("Academic staff").says("Negation in language models");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn two_admins_at_once_are_told_of_each_other_and_lose_nothing(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let model = gated(&portal, "tiny-opt").await;
    let (root, wheel) = (portal.admin("root").await, portal.admin("wheel").await);
    let base = base(model);
    for path in ["questions/title", "new/questions", "preview", "compare"] {
        let page = root.get(&format!("{base}/{path}")).await;
        assert_eq!(page.status, 409, "there is no draft yet");
        page.says("Not done:").says("there is no draft of this form").says("Edit a copy");
    }
    done(&root.post(&format!("{base}/start"), &[("version", "0")]).await);
    let page = wheel.post(&format!("{base}/start"), &[("version", "0")]).await;
    assert_eq!(page.status, 409);
    page.says("there is a draft already").says("This is a draft");
    let seen = edition(&root.get(&base).await);
    done(&edits(&wheel, &base, "questions/ethics/remove", &[]).await);

    let late = [("edition", seen.as_str()), ("id", "more"), ("title", "More of it"), ("intro", "")];
    let page = root.post(&format!("{base}/new/sections"), &late).await;
    assert_eq!(page.status, 422);
    page.says("wheel changed this draft on").says("nothing was changed").says("More of it");
    let again = [("edition", edition(&page)), ("id", "more".into()), ("title", "More of it".into())];
    let again: Vec<(&str, &str)> = again.iter().map(|(name, value)| (*name, value.as_str())).collect();
    done(&root.post(&format!("{base}/new/sections"), &again).await);
    for (path, fields) in
        [("questions/title/move", vec![("way", "down")]), ("questions/title/remove", vec![]), ("publish", vec![]), ("discard", vec![])]
    {
        let fields: Vec<(&str, &str)> = fields.into_iter().chain([("edition", seen.as_str())]).collect();
        let page = wheel.post(&format!("{base}/{path}"), &fields).await;
        assert_eq!(page.status, 409, "{path}");
        page.says("root changed this draft on").says("as it is now");
        if path != "publish" {
            assert_eq!(edition(&page), edition(&root.get(&base).await), "{path}: what is done from here is done on the draft of now");
        }
        assert!(!page.text.contains("\"form/"), "{path}: addresses fit where the page stands");
    }
    let page = wheel.post(&format!("{base}/questions/title/move"), &[("way", "down"), ("edition", &seen)]).await;
    page.says("<p class=\"error\">Not done: root changed this draft on");
    done(&edits(&root, &base, "discard", &[]).await);
    done(&wheel.post(&format!("{base}/start"), &[("version", "0")]).await);
    assert_eq!(root.post(&format!("{base}/discard"), &[("edition", &seen)]).await.status, 409, "no page fits another draft");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn what_was_typed_outlives_the_part_and_the_draft_it_was_typed_for(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let model = gated(&portal, "tiny-opt").await;
    let (root, wheel) = (portal.admin("root").await, portal.admin("wheel").await);
    let base = base(model);
    done(&root.post(&format!("{base}/start"), &[("version", "0")]).await);
    let typed = |edition: &str| {
        let fields = [("section", "project"), ("name", "ethics"), ("label", "Whom may it hurt?"), ("kind", "text"), ("need", "optional")];
        fields.into_iter().chain([("edition", edition)]).map(|(name, value)| (name.to_owned(), value.to_owned())).collect::<Vec<_>>()
    };
    let save = async |path: &str, edition: &str| {
        let fields = typed(edition);
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        root.post(&format!("{base}/{path}"), &fields).await
    };

    // Another admin removes the question that is being edited: to save it is to add it.
    let seen = edition(&root.get(&format!("{base}/questions/ethics")).await);
    done(&edits(&wheel, &base, "questions/ethics/remove", &[]).await);
    let page = save("questions/ethics", &seen).await;
    assert_eq!(page.status, 422);
    page.says("wheel changed this draft on").says("the question ethics is no longer in it, and would be added").says("Whom may it hurt?");
    page.says("Add a question").says(&format!("action=\"{base}/new/questions\""));
    done(&save("new/questions", &edition(&page)).await);
    root.get(&base).await.says("Whom may it hurt?");

    // Another admin discards the draft: what was typed waits until there is one.
    let seen = edition(&root.get(&format!("{base}/questions/ethics")).await);
    done(&edits(&wheel, &base, "discard", &[]).await);
    let page = save("questions/ethics", &seen).await;
    assert_eq!(page.status, 422);
    page.says("there is no draft of this form any more").says("Begin a draft on").says("Whom may it hurt?");
    done(&root.post(&format!("{base}/start"), &[("version", "0")]).await);
    let page = save("questions/ethics", &edition(&page)).await;
    assert_eq!(page.status, 422);
    done(&save("questions/ethics", &edition(&page)).await);
    root.get(&base).await.says("Whom may it hurt?");

    // What another admin published leads back to the form, with the reason.
    let seen = edition(&root.get(&base).await);
    done(&edits(&wheel, &base, "publish", &[]).await);
    for path in ["publish", "discard", "questions/ethics/remove"] {
        let page = root.post(&format!("{base}/{path}"), &[("edition", &seen)]).await;
        assert_eq!(page.status, 409, "{path}");
        page.says("there is no draft of this form any more").says("Applicants are asked version 1").says("Edit a copy");
    }
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_draft_may_break_rules_and_is_told_every_one_before_it_is_published(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let model = gated(&portal, "tiny-opt").await;
    let root = portal.admin("root").await;
    let base = base(model);
    let built_in = root.get(&format!("{base}.json")).await;
    assert_eq!(built_in.header("content-disposition"), "attachment; filename=\"form-of-demo-tiny-opt.json\"");
    let with = |field: &str| built_in.text.replacen("\"fields\": [", &format!("\"fields\": [{field},"), 1);
    let field = |name: &str, label: &str, kind: &str, need: &str| {
        format!(r#"{{"name": "{name}", "label": "{label}", "hint": "", "kind": {kind}, "need": {need}}}"#)
    };
    let many: Vec<String> =
        (0..10_000).map(|number| field(&format!("q{number}"), &format!("Q{number}"), "\"url\"", "\"optional\"")).collect();
    done(&root.post(&format!("{base}/start"), &[("version", "0")]).await);
    for (json, told) in [
        (with(&field("title", "Once more", r#"{"line": {"chars_max": 9}}"#, "\"always\"")), "“title” is taken already"),
        (with(&field("x", "X", "\"url\"", r#"{"when": {"field": "nothing", "is": ["a"]}}"#)), "the form has no such choice or box"),
        (with(&field("x", "<script>alert(1)</script>", "\"url\"", "\"always\"")), "holds markup"),
        (with(&field("x", "X", r#"{"line": {"chars_max": 99999999}}"#, "\"always\"")), "from 1 to 500 can be asked for"),
        (
            with(&field("x", "X", r#"{"text": {"chars_max": 99, "chars_min": 200, "words_min": 0}}"#, "\"always\"")),
            "no more than 99 characters fit",
        ),
        (built_in.text.replace("\"months\"", "\"url\""), "do not ask for “months”"),
    ] {
        done(&edits(&root, &base, "json", &[("json", &json)]).await);
        root.get(&base).await.says("What has to be fixed before publishing").says(told);
        let refused = edits(&root, &base, "publish", &[]).await;
        assert_eq!(refused.status, 409, "{told}");
        refused.says("to be fixed before publishing");
    }
    for (json, told) in [
        (with(&many.join(",")), "are too many: 10028, and at most 100 fit"),
        (with(&field("x", "X", "\"telepathy\"", "\"always\"")), "unknown variant `telepathy`"),
        (with(&field("x", "X\\u0000", "\"url\"", "\"always\"")), "U+0000"),
        ("{".into(), "is not the JSON of a form"),
    ] {
        let page = edits(&root, &base, "json", &[("json", &json)]).await;
        assert_eq!(page.status, 422, "{told}: {}", &page.text[..page.text.len().min(3_000)]);
        page.says(told);
    }

    // Programs are told the same beside the draft that is kept.
    let program = root.with_token(&root.makes_token(&["admin"]).await);
    let path = format!("/api/v1/admin/models/{model}/form");
    let seen = program.fetch(&path).await.json()["draft"]["edition"].clone();
    let broken: serde_json::Value = serde_json::from_str(&with(&field("title", "Once more", "\"url\"", "\"always\""))).unwrap();
    let sent = serde_json::json!({ "edition": seen, "form": broken });
    let kept = Page::of(program.request(Method::PUT, &format!("{path}/draft")).json(&sent).send().await.unwrap()).await;
    assert_eq!(kept.status, 200, "{}", kept.text);
    assert_eq!(kept.json()["draft"]["form"], broken);
    assert_eq!(kept.json()["draft"]["faults"][0]["place"], "question title");
    let edition = serde_json::json!({ "edition": kept.json()["draft"]["edition"] });
    let refused = Page::of(program.request(Method::POST, &format!("{path}/publish")).json(&edition).send().await.unwrap()).await;
    assert_eq!((refused.status, &refused.json()["mend"]["path"]), (409, &serde_json::json!(base)), "{}", refused.text);

    done(&edits(&root, &base, "discard", &[]).await);
    root.get(&base).await.says("Edit a copy");

    // What is right goes its way, and comes out as it went in.
    let json = with(&field("x", "Is p < 0.05 & “true”?", "\"url\"", "\"optional\""));
    done(&root.post(&format!("{base}/json"), &[("json", &json)]).await);
    assert_eq!(root.post(&format!("{base}/json"), &[("json", &json)]).await.status, 422, "there is a draft now, and this page saw none");
    root.get(&format!("{base}/preview")).await.says("Is p &#60; 0.05 &#38; “true”?");
    done(&edits(&root, &base, "publish", &[]).await);
    let file = root.get(&format!("{base}.json")).await;
    assert_eq!(file.json(), serde_json::from_str::<serde_json::Value>(&json).unwrap());
    assert_eq!(root.get(&format!("{base}.json?version=0")).await.text, built_in.text);
    done(&root.post(&format!("{base}/json"), &[("json", &json)]).await);
    let page = edits(&root, &base, "publish", &[]).await;
    assert_eq!(page.status, 409);
    page.says("The draft is the same as the current form");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn the_page_of_a_part_says_what_is_wrong_beside_its_input(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let model = gated(&portal, "tiny-opt").await;
    let root = portal.admin("root").await;
    let base = base(model);
    done(&root.post(&format!("{base}/start"), &[("version", "0")]).await);
    for (path, fields, told) in [
        ("new/questions", vec![("section", "you"), ("label", ""), ("kind", "line"), ("need", "always")], "is needed"),
        ("new/questions", vec![("section", "you"), ("label", "Country"), ("kind", "line"), ("need", "always")], "is asked twice"),
        (
            "new/questions",
            vec![("section", "gone"), ("label", "L"), ("kind", "line"), ("need", "always")],
            "this section is no longer in the form",
        ),
        (
            "new/questions",
            vec![("section", "you"), ("label", "L"), ("kind", "line"), ("chars_max", "lots"), ("need", "always")],
            "enter a whole number",
        ),
        (
            "new/questions",
            vec![("section", "you"), ("label", "L"), ("kind", "line"), ("need", "when"), ("on", "x"), ("is", "y")],
            "no such choice or box",
        ),
        (
            "questions/months",
            vec![("section", "you"), ("name", "months"), ("label", "M"), ("kind", "url"), ("need", "always")],
            "has to be a number of months",
        ),
        (
            "questions/months",
            vec![("section", "you"), ("name", "m"), ("label", "M"), ("kind", "months"), ("need", "always")],
            "do not ask for “months”",
        ),
        ("new/sections", vec![("title", "You")], "is taken already"),
        ("new/clauses", vec![("id", "2a-i"), ("wording", "W."), ("source", "site")], "is taken already"),
        ("new/clauses", vec![("id", "x"), ("wording", ""), ("source", "site")], "is needed"),
    ] {
        let page = edits(&root, &base, path, &fields).await;
        assert_eq!(page.status, 422, "{path} {told}: {}", page.text);
        page.says(told);
    }
    assert_eq!(root.get(&format!("{base}/questions/nothing")).await.status, 404);
    assert_eq!(root.get(&format!("{base}/things/title")).await.status, 404);
    assert_eq!(edits(&root, &base, "sections/you/remove", &[]).await.status, 409);
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn what_was_published_cannot_be_changed_and_can_be_begun_from_again(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let model = gated(&portal, "tiny-opt").await;
    let (root, ada) = (portal.admin("root").await, portal.researcher("ada").await);
    let base = base(model);
    asks_for_group_size(&root, &base, "0").await;
    done(&root.post(&format!("{base}/start"), &[("version", "0")]).await);
    root.get(&format!("{base}/compare")).await.says("Removed").says("Size of your group").says("Publish version 2");
    done(&edits(&root, &base, "publish", &[]).await);
    root.get(&base).await.says("Version 2").says("Version 1").says("Built in");
    root.get(&format!("{base}/versions/1")).await.says("Size of your group").says("version 1 of the form");
    assert_eq!(root.get(&format!("{base}/versions/3")).await.status, 404);
    applies_for(&ada, "/demo/tiny-opt").await;

    let db = &portal.portal.db;
    for wrong in [
        "update form set body = '{}'",
        "delete from form",
        "truncate form cascade",
        "update model_form set since = now()",
        "delete from model_form",
        "truncate model_form",
    ] {
        let refused = sqlx::query(wrong).execute(db).await.unwrap_err();
        assert!(refused.to_string().contains("a form that was published stays as it is"), "{wrong}: {refused}");
    }
    // Whoever gets round the trigger is found out: a form has to be what its name says.
    let mut tx = db.begin().await.unwrap();
    sqlx::query("set local session_replication_role = replica").execute(&mut *tx).await.unwrap();
    sqlx::query("update form set body = jsonb_set(body, '{sections,0,title}', '\"Who\"')").execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(ada.get(APPLY).await.status, 200, "she has sent hers, and the built-in form is the program's own");
    assert_eq!(root.get(&format!("{base}/versions/1")).await.status, 500);
}
