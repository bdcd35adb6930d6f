//! Bad weather between a portal and its bucket while it publishes: it ends with a release that is whole, or with clear words and nothing that
//! anybody sees; and once the weather is good, publishing again completes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use server::catalog::{self, Gate, Outcome};
use server::error::Error;
use server::storage::PART_BYTES;
use sqlx::PgPool;
use tests::{Asked, ObjectStore, TestPortal, Trouble, Weather, Weights, noise};

/// What the weather is until somebody changes it.
type Now = Arc<Mutex<Option<(Trouble, When)>>>;

/// When it goes wrong.
#[derive(Debug, Clone, Copy, PartialEq)]
enum When {
    /// The first time that something is asked for.
    Once,
    /// Whenever a part of a file is sent, or a file that has no parts.
    Sending,
    /// Whenever the store is asked what it holds or told that all was sent.
    Asking,
}

impl When {
    fn is_now(self, asked: &Asked) -> bool {
        let is_sent = asked.method == "PUT";
        match self {
            When::Once => asked.again == 0,
            When::Sending => is_sent,
            // Whether there is a bucket is asked first of all; without it nothing would begin.
            When::Asking => !is_sent && asked.target.contains("sha256/"),
        }
    }
}

fn troubles() -> [Trouble; 11] {
    let page = Arc::new(b"<html>A page of somebody in between</html>".to_vec());
    [
        Trouble::Delay(Duration::from_millis(200)),
        Trouble::Drop,
        Trouble::Status(500, None),
        Trouble::Status(503, Some(1)),
        Trouble::Answer(200, "text/html", page),
        Trouble::Cut(60),
        Trouble::Flip(8 * 150 + 1),
        Trouble::Stale,
        Trouble::SentCut(900),
        Trouble::SentFlip(8 * 300 + 5),
        Trouble::Unheard,
    ]
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn what_goes_wrong_once_is_come_through_or_told(db: PgPool) {
    comes_through(db, When::Once).await;
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn files_that_never_arrive_are_not_on_offer(db: PgPool) {
    comes_through(db, When::Sending).await;
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_store_that_cannot_say_what_it_holds_is_not_believed(db: PgPool) {
    comes_through(db, When::Asking).await;
}

/// A release of its own in each kind of weather, and once more in good weather.
async fn comes_through(db: PgPool, when: When) {
    let store = ObjectStore::start().await;
    let now = Now::default();
    let weather = {
        let now = now.clone();
        Weather::before(&store.endpoint(), move |asked| {
            let (trouble, when) = now.lock().unwrap().clone()?;
            when.is_now(asked).then_some(trouble)
        })
        .await
    };
    let address = weather.base.replace("127.0.0.1", "localhost");
    let portal = TestPortal::start_with(db, &store.settings_but(&[("AWS_ENDPOINT_URL", &address)])).await;
    let mut complete = Vec::new();
    for (number, trouble) in (1u64..).zip(troubles()) {
        let weights = Weights::of("preln-fp32");
        // One file of a part and a little, one that fits into a part.
        weights.write("long.dat", noise(2 * number, PART_BYTES as usize + 4_321));
        weights.write("short.dat", noise(2 * number + 1, 5_000));
        let model = format!("acme/tiny-{number}");
        let spoken_of = format!("{:.30}, {when:?}", format!("{trouble:?}"));
        let asked = weather.asked().len();
        *now.lock().unwrap() = Some((trouble.clone(), when));
        let outcome = portal.tries_to_publish(&model, Some(Gate::Open), None, &weights).await;
        *now.lock().unwrap() = None;
        assert!(weather.asked().len() > asked, "{spoken_of}: the store was not asked");
        match outcome {
            Ok(Outcome::Published(_)) => {
                is_whole(&portal, &model, &weights, &spoken_of).await;
                complete.push(number);
            }
            Ok(Outcome::Unfit(faults)) => panic!("{spoken_of}: {faults:?}"),
            Err(error @ (Error::Unavailable(_) | Error::Conflict(_))) => {
                let told = error.to_string();
                assert!(when != When::Once || !is_waited_for(&trouble), "{spoken_of}: {told}");
                // What is spoilt on its way is no fault of who sends it.
                assert!(!told.contains("was changed"), "{spoken_of}: {told}");
                assert!(told.contains("object store") || told.contains("publish again"), "{spoken_of}: {told}");
            }
            Err(other) => panic!("{spoken_of}: nobody knows what to do: {other}"),
        }
        let mut reader = portal.portal.db.acquire().await.unwrap();
        let found = catalog::find_any_model(&mut reader, "acme", &format!("tiny-{number}")).await.unwrap();
        assert_eq!(found.is_some(), complete.contains(&number), "{spoken_of}: something of it is there");

        portal.publishes(&model, Gate::Open, &weights).await;
        is_whole(&portal, &model, &weights, &spoken_of).await;
    }
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_line_that_breaks_spoils_nothing_that_a_release_reuses(db: PgPool) {
    let store = ObjectStore::start().await;
    let is_bad = Arc::new(AtomicBool::new(false));
    let weather = {
        let is_bad = is_bad.clone();
        Weather::before(&store.endpoint(), move |asked| {
            let reads = asked.method == "GET" && asked.target.contains("sha256/");
            (reads && is_bad.load(Ordering::SeqCst)).then_some(Trouble::Cut(1_000))
        })
        .await
    };
    let address = weather.base.replace("127.0.0.1", "localhost");
    let portal = TestPortal::start_with(db, &store.settings_but(&[("AWS_ENDPOINT_URL", &address)])).await;
    let weights = Weights::of("preln-fp32");
    weights.write("long.dat", noise(1, PART_BYTES as usize + 4_321));
    let first = portal.publishes("acme/tiny", Gate::Open, &weights).await;
    portal.wait(time::Duration::days(8));
    weights.write("README.md", "# Another release");
    is_bad.store(true, Ordering::SeqCst);
    let refused = portal.tries_to_publish("acme/tiny", Some(Gate::Open), None, &weights).await.unwrap_err();
    assert!(matches!(&refused, Error::Unavailable(why) if why.contains("is read back")), "{refused}");
    is_bad.store(false, Ordering::SeqCst);
    let faults: i64 = sqlx::query_scalar("select count(*) from object where fault is not null").fetch_one(&portal.portal.db).await.unwrap();
    assert_eq!(faults, 0, "nothing is known to be wrong");
    let second = portal.publishes("acme/tiny", Gate::Open, &weights).await;
    assert!(
        second.is_new && second.written_bytes < 10_000 && second.notes == first.notes,
        "{} bytes: {:?}",
        second.written_bytes,
        second.notes
    );
    is_whole(&portal, "acme/tiny", &weights, "a line that broke").await;
}

/// What whoever asks again does not meet a second time.
fn is_waited_for(trouble: &Trouble) -> bool {
    matches!(trouble, Trouble::Delay(_) | Trouble::Drop | Trouble::Status(..) | Trouble::SentCut(_) | Trouble::Unheard)
}

async fn is_whole(portal: &TestPortal, model: &str, weights: &Weights, spoken_of: &str) {
    for (path, bytes) in portal.stored(model, "main").await {
        assert!(bytes == weights.read(&path), "{spoken_of}: {path}");
    }
}
