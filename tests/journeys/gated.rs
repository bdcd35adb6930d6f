//! A gated model and an applicant who was prepared, for the stories about access.

use server::catalog::Gate;
use server::clock::Timestamp;
use server::ids::ModelId;
use sha2::Digest;
use tests::{Person, TestPortal};

/// The licence of the gated models.
pub const LICENCE: &str = "Non-commercial research licence, all of it.";

/// Puts `demo/{name}` on offer, to be applied for, under [`LICENCE`]. Its release is empty: the stories here need no file.
pub async fn gated(portal: &TestPortal, name: &str) -> ModelId {
    let model = portal.offers(&format!("demo/{name}"), Gate::Application, &[]).await.model;
    relicense(portal, Some(model), LICENCE, portal.portal.clock.now()).await;
    model
}

/// Puts `demo/{name}` on offer, open to all.
pub async fn open_model(portal: &TestPortal, name: &str) -> ModelId {
    portal.offers(&format!("demo/{name}"), Gate::Open, &[]).await.model
}

/// Stores a licence text and puts the model under it, as a new release with another LICENSE does.
pub async fn relicense(portal: &TestPortal, model: Option<ModelId>, text: &str, now: Timestamp) -> String {
    let sha256: String = sha2::Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect();
    sqlx::query("insert into licence (sha256, name, body, created_at) values ($1, 'LICENSE', $2, $3) on conflict do nothing")
        .bind(&sha256)
        .bind(text)
        .bind(now)
        .execute(&portal.portal.db)
        .await
        .unwrap();
    if let Some(model) = model {
        sqlx::query("update model set licence_sha256 = $2 where id = $1")
            .bind(model.uuid())
            .bind(&sha256)
            .execute(&portal.portal.db)
            .await
            .unwrap();
    }
    sha256
}

/// What an applicant who was prepared answers, without licence and clauses.
pub fn prepared() -> Vec<(String, String)> {
    let summary = "We ask how the model's errors on negated statements change with its size. ".repeat(6);
    let plain = [
        ("role", "academic"),
        ("organisation", "University of Turin"),
        ("country", "IT"),
        ("title", "Negation in language models"),
        ("summary", summary.as_str()),
        ("lay_summary", "Language models often overlook the word not. We measure when that happens, and what helps against it."),
        ("areas", "interpretability"),
        ("uses_evaluation", "on"),
        ("months", "6"),
        ("commercial", "no"),
        ("derived_weights", "none"),
        ("storage_kind", "institution"),
        ("storage_location", "The university's cluster"),
        ("controls_accounts", "on"),
        ("security_contact", "security@unito.it"),
        ("capacity", "self"),
    ];
    plain.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// A complete form for the model at `path`, every clause on its page ticked and its licence shown.
pub async fn answers(person: &Person, path: &str) -> Vec<(String, String)> {
    let page = person.get(&format!("{path}/apply")).await;
    let mut fields = prepared();
    for part in page.text.split("name=\"agree_").skip(1) {
        fields.push((format!("agree_{}", part.split('"').next().unwrap()), "on".into()));
    }
    for shown in ["licence_shown", "form_shown"] {
        let (_, rest) = page.text.split_once(&format!("name=\"{shown}\" value=\"")).unwrap_or_else(|| panic!("no form: {}", page.text));
        fields.push((shown.into(), rest.split('"').next().unwrap().to_owned()));
    }
    fields
}

/// Fills in the form and sends it; returns the path of the application.
pub async fn applies_for(person: &Person, path: &str) -> String {
    let fields = answers(person, path).await;
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let page = person.post(&format!("{path}/apply"), &fields).await;
    assert_eq!(page.status, 303, "{}", page.text);
    page.location().to_owned()
}
