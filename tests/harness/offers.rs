//! Models on offer, arranged directly: publishing is an operator's command with stories of its own.

use data_encoding::HEXLOWER;
use server::catalog::Gate;
use server::ids::{ModelId, ReleaseId};
use server::storage::{ObjectKey, Objects, PART_BYTES, Whole};
use sha1::Digest as _;
use sqlx::PgPool;

use crate::TestPortal;

/// A model with one release.
#[derive(Debug, Clone)]
pub struct Offer {
    pub model: ModelId,
    /// `org/name`
    pub full_name: String,
    pub revision: String,
    db: PgPool,
}

/// Files from this size on are large ones to clients of the Hub, as in what `sluice publish` makes.
const LARGE_BYTES: usize = 1_000;

impl TestPortal {
    /// Offers `org/name` with these files, as release `main` and tag `v1`.
    pub async fn offers(&self, full_name: &str, gate: Gate, files: &[(&str, &[u8])]) -> Offer {
        let (org, name) = full_name.split_once('/').unwrap();
        let (model, release) = (ModelId::fresh(), ReleaseId::fresh());
        let db = self.portal.db.clone();
        let now = self.portal.clock.now();
        let revision = HEXLOWER.encode(&sha1::Sha1::digest(full_name));
        sqlx::query("insert into model (id, org, name, gate, created_at) values ($1, $2, $3, $4, $5)")
            .bind(model.uuid())
            .bind(org)
            .bind(name)
            .bind(gate.as_str())
            .bind(now)
            .execute(&db)
            .await
            .unwrap();
        sqlx::query("insert into release (id, model_id, revision, notes, config_json, published_at) values ($1, $2, $3, 'First', $4, $5)")
            .bind(release.uuid())
            .bind(model.uuid())
            .bind(&revision)
            .bind(serde_json::json!({ "model_type": "opt", "architectures": ["OPTForCausalLM"] }))
            .bind(now)
            .execute(&db)
            .await
            .unwrap();
        for (name, kind) in [("main", "branch"), ("v1", "tag")] {
            sqlx::query("insert into release_name (model_id, name, kind, release_id, moved_at) values ($1, $2, $3, $4, $5)")
                .bind(model.uuid())
                .bind(name)
                .bind(kind)
                .bind(release.uuid())
                .bind(now)
                .execute(&db)
                .await
                .unwrap();
        }
        for (path, bytes) in files {
            let sha256 = self.keeps(bytes).await;
            sqlx::query("insert into release_file (release_id, path, object_sha256, is_lfs) values ($1, $2, $3, $4)")
                .bind(release.uuid())
                .bind(path)
                .bind(sha256)
                .bind(bytes.len() >= LARGE_BYTES)
                .execute(&db)
                .await
                .unwrap();
        }
        Offer { model, full_name: full_name.to_owned(), revision, db }
    }

    /// Puts an object into the store, and returns its SHA-256.
    async fn keeps(&self, bytes: &[u8]) -> String {
        let sha256 = HEXLOWER.encode(&sha2::Sha256::digest(bytes));
        self.lays(&sha256, bytes).await;
        let blob = sha1::Sha1::new().chain_update(format!("blob {}\0", bytes.len())).chain_update(bytes).finalize();
        sqlx::query(
            "insert into object (sha256, blake3, git_sha1, size_bytes, created_at) values ($1, $2, $3, $4, $5) on conflict do nothing",
        )
        .bind(&sha256)
        .bind(blake3::hash(bytes).to_hex().to_string())
        .bind(HEXLOWER.encode(&blob))
        .bind(bytes.len() as i64)
        .bind(self.portal.clock.now())
        .execute(&self.portal.db)
        .await
        .unwrap();
        sha256
    }

    /// Lays bytes into the store under a name, whatever the name promises.
    pub async fn lays(&self, sha256: &str, bytes: &[u8]) {
        let staged = self.portal.objects.staging().stage().unwrap();
        std::fs::write(staged.path(), bytes).unwrap();
        let key = ObjectKey::file(sha256);
        match &self.portal.objects {
            Objects::Folder(folder) => folder.keep(staged, &key).unwrap(),
            Objects::S3(s3) => {
                let parts = bytes.chunks(PART_BYTES as usize).map(|part| sha2::Sha256::digest(part).into()).collect();
                let whole = Whole { path: staged.path().to_owned(), size_bytes: bytes.len() as u64, parts };
                s3.upload(&key, &whole, &|_| ()).await.unwrap();
            }
        }
    }

    /// Gives a person access for so many days, without an application.
    pub async fn grants(&self, offer: &Offer, email: &str, days: i64) {
        let now = self.portal.clock.now();
        sqlx::query(
            "insert into access_grant (id, account_id, model_id, reason, granted_at, expires_at)
             select $1, id, $2, 'arranged', $3, $4 from account where email = $5",
        )
        .bind(server::ids::GrantId::fresh().uuid())
        .bind(offer.model.uuid())
        .bind(now)
        .bind(now + time::Duration::days(days))
        .bind(email)
        .execute(&offer.db)
        .await
        .unwrap();
    }

    /// Takes every grant back that anybody has for the model.
    pub async fn revokes(&self, offer: &Offer) {
        sqlx::query("update access_grant set revoked_at = $2, revoke_reason = 'arranged' where model_id = $1 and revoked_at is null")
            .bind(offer.model.uuid())
            .bind(self.portal.clock.now())
            .execute(&offer.db)
            .await
            .unwrap();
    }
}

impl Offer {
    /// The file's URL at the release's commit.
    pub fn url(&self, path: &str) -> String {
        self.url_at(&self.revision, path)
    }

    /// The file's URL at a revision.
    pub fn url_at(&self, revision: &str, path: &str) -> String {
        format!("/{}/resolve/{revision}/{path}", self.full_name)
    }
}
