//! The models' pages, as a reader meets them who has, or has not, access.

use server::catalog::{self, Gate};
use sqlx::PgPool;
use tests::{TestPortal, Weights};

fn weights(card: &str) -> Weights {
    let weights = Weights::of("preln-fp16-sharded");
    weights.write("README.md", card).write("LICENSE.md", "# Terms of the lab\n\nFor research only.");
    weights
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn the_list_finds_models_by_words_and_gate_and_says_when_it_finds_none(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let visitor = portal.visitor();
    visitor.get("/models").await.says("No model has been published yet");
    portal.publishes("acme/tiny", Gate::Open, &weights("# Tiny\n\nContinues verse.")).await;
    portal.publishes("lab/closed", Gate::Application, &weights("# Closed\n\nNeeds a reason.")).await;

    let all = visitor.get("/models").await;
    all.says("href=\"/acme/tiny\"").says("Continues verse.").says("href=\"/lab/closed\"");
    let gated = visitor.get("/models?gate=application").await;
    assert!(gated.text.contains("lab/closed") && !gated.text.contains("acme/tiny"));
    let found = visitor.get("/models?q=VERSE&gate=").await;
    assert!(found.text.contains("acme/tiny") && !found.text.contains("lab/closed"));
    let none = visitor.get("/models?q=%3Cscript%3E").await;
    none.says("No model matches").says("Show all models");
    assert!(!none.text.contains("<script>"), "what is searched is shown as text");
    assert_eq!(visitor.get("/models?q=%00&gate=nonsense").await.status, 200);
    visitor.get("/").await.says("href=\"/acme/tiny\"");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_model_s_page_tells_what_it_is_and_how_to_get_it(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let card = "---\nlicense: mit\n---\n# Tiny\n\nContinues *verse*.\n\n<script>alert(1)</script>\n\n![spy](https://spy.example/x.png)";
    let release = portal.publishes("acme/tiny", Gate::Open, &weights(card)).await;
    let page = portal.visitor().get("/acme/tiny").await;
    page.says("<em>verse</em>").says("Terms of the lab").says("anybody may download it").says(&release.revision[..10]);
    page.says(&format!("HF_ENDPOINT={}", portal.base)).says("hf download acme/tiny");
    page.says(&format!("{}/acme/tiny/resolve/{}/model-00001-of-00003.safetensors", portal.base, release.revision));
    page.says("Can my machine run it?").says("Laptop with 8 GB").says("int4").says("keeps them in 32 bits").says("main");
    for unwanted in ["<script", "spy.example", "license: mit", "HF_TOKEN"] {
        assert!(!page.text.contains(unwanted), "{unwanted}");
    }
    assert!(page.bytes.len() < 100_000);
    let head = portal.visitor().request(reqwest::Method::HEAD, "/acme/tiny").send().await.unwrap();
    assert_eq!(head.status(), 200);
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_gated_model_shows_its_licence_to_all_and_the_next_step_to_each(db: PgPool) {
    let portal = TestPortal::start(db).await;
    portal.publishes("lab/closed", Gate::Application, &weights("# Closed\n\nNeeds a reason.")).await;
    let visitor = portal.visitor();
    let page = visitor.get("/lab/closed").await;
    page.says("an account and an approved application")
        .says("href=\"/lab/closed/apply\"")
        .says("href=\"/lab/closed/licence\"")
        .says("HF_TOKEN");
    visitor.get("/lab/closed/licence").await.says("For research only.").says("<h2>Terms of the lab</h2>");
    visitor.get("/lab/closed/files").await.says("model-00001-of-00003.safetensors");

    let ada = portal.researcher("ada").await;
    ada.get("/lab/closed").await.says("needs an approved application").says("Apply for access");
    let admin = portal.admin("root").await;
    admin.get("/lab/closed").await.says("You have access as an admin");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn the_files_stand_with_sizes_and_digests_for_each_release(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let weights = weights("# One");
    let first = portal.publishes("acme/tiny", Gate::Open, &weights).await;
    weights.write("README.md", "# Two").write("sub/notes.txt", "deep");
    let second = portal.publishes("acme/tiny", Gate::Open, &weights).await;

    let visitor = portal.visitor();
    let now = visitor.get("/acme/tiny/files").await;
    now.says(&second.revision).says("sub/notes.txt").says(&first.revision[..10]);
    let readme = blake3::hash(b"# Two").to_hex().to_string();
    now.says(&readme).says(&format!("/acme/tiny/resolve/{}/sub/notes.txt", second.revision));
    let before = visitor.get(&format!("/acme/tiny/files?revision={}", first.revision)).await;
    assert!(!before.text.contains("sub/notes.txt"));
    assert_eq!(visitor.fetch(&format!("/acme/tiny/resolve/{}/README.md", first.revision)).await.text, "# One");
    for wrong in ["nonsense", "%00", "0000000"] {
        assert_eq!(visitor.get(&format!("/acme/tiny/files?revision={wrong}")).await.status, 404, "{wrong:?}");
    }
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_name_in_other_capitals_leads_to_the_right_page(db: PgPool) {
    let portal = TestPortal::start(db).await;
    portal.publishes("Acme/Tiny", Gate::Open, &weights("# Tiny")).await;
    let visitor = portal.visitor();
    for (asked, right) in [
        ("/acme/tiny", "/Acme/Tiny"),
        ("/ACME/Tiny/files?revision=main", "/Acme/Tiny/files?revision=main"),
        ("/acme/tiny/licence", "/Acme/Tiny/licence"),
    ] {
        let answer = visitor.get(asked).await;
        assert_eq!((answer.status, answer.location()), (308, right));
    }
    for unknown in ["/acme/none", "/Acme/Tiny/nothing", "/none/tiny/files", "/Acme%00/Tiny"] {
        assert_eq!(visitor.get(unknown).await.status, 404, "{unknown}");
    }
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn the_demo_models_have_pages_to_be_proud_of(db: PgPool) {
    let portal = TestPortal::start(db).await;
    catalog::publish_demo_if_empty(&portal.portal).await.unwrap();
    let page = portal.visitor().get("/sluice/opt-verse-6m").await;
    page.says("5.9 million").says("What it can do, and what it cannot").says("<table>").says("Public domain dedication");
    portal.visitor().get("/sluice/opt-verse-6m-gated/licence").await.says("2a-iii.").says("surveillance");
}
