//! The closed list of things worth remembering.

use serde_json::{Value, json};

use crate::ids::{AccountId, ApplicationId, BlockId, GrantId, ModelId, RenewalId, TokenId};

/// Something that happened. The kind, the subject and the detail are stored; personal data stays in the tables it belongs to.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "each is named for what happened, and its fields for what they hold")]
pub enum Event {
    AccountMade {
        account: AccountId,
        role: &'static str,
    },
    EmailVerified {
        account: AccountId,
    },
    SignedIn {
        account: AccountId,
    },
    /// Nobody's, where the address is unknown: the log grows alike, because everybody may see how long it is.
    SignInFailed {
        account: Option<AccountId>,
    },
    SignUpRepeated {
        account: AccountId,
    },
    /// A way in for whoever is shown it, made by the operator.
    SignInLinkMade {
        account: AccountId,
    },
    PasswordChanged {
        account: AccountId,
    },
    AccountRenamed {
        account: AccountId,
    },
    RoleChanged {
        account: AccountId,
        role: &'static str,
    },
    AccountClosed {
        account: AccountId,
    },
    AccountReopened {
        account: AccountId,
    },
    SessionEnded {
        account: AccountId,
    },
    TokenMade {
        account: AccountId,
        token: TokenId,
        scopes: Vec<&'static str>,
    },
    TokenRevoked {
        account: AccountId,
        token: TokenId,
    },
    TokenLeaked {
        account: AccountId,
        token: TokenId,
    },
    DeviceApproved {
        account: AccountId,
        program: &'static str,
    },
    DeviceDenied {
        account: AccountId,
        program: &'static str,
    },
    ModelOffered {
        model: ModelId,
        name: String,
        gate: &'static str,
    },
    GateChanged {
        model: ModelId,
        gate: &'static str,
    },
    ReleaseDrafted {
        model: ModelId,
        revision: String,
    },
    DraftDiscarded {
        model: ModelId,
        revision: String,
    },
    ReleasePublished {
        model: ModelId,
        revision: String,
    },
    ReleaseNamed {
        model: ModelId,
        name: String,
        from: Option<String>,
        to: String,
    },
    SigningKeyRotated {
        from: String,
        to: String,
        retires: String,
    },
    ReleaseYanked {
        model: ModelId,
        revision: String,
        reason: String,
    },
    ReleaseRestored {
        model: ModelId,
        revision: String,
    },
    ObjectsRemoved {
        objects: usize,
        bytes: u64,
    },
    ApplicationSubmitted {
        application: ApplicationId,
        model: ModelId,
        licence_sha256: Option<String>,
        form_sha256: String,
        answers_sha256: String,
    },
    ApplicationResubmitted {
        application: ApplicationId,
        answers_sha256: String,
    },
    ApplicationWithdrawn {
        application: ApplicationId,
    },
    ApplicationLapsed {
        application: ApplicationId,
    },
    ApplicationClaimed {
        application: ApplicationId,
    },
    ApplicationReleased {
        application: ApplicationId,
    },
    ApplicationChecked {
        application: ApplicationId,
        points: Vec<String>,
    },
    ChangesRequested {
        application: ApplicationId,
        fields: Vec<String>,
    },
    CommentWritten {
        application: ApplicationId,
    },
    NoteWritten {
        application: ApplicationId,
    },
    ApplicationAppealed {
        application: ApplicationId,
    },
    DecisionUndone {
        application: ApplicationId,
    },
    ApplicationApproved {
        application: ApplicationId,
        grant: GrantId,
    },
    ApplicationDeclined {
        application: ApplicationId,
        code: &'static str,
    },
    FormPublished {
        model: ModelId,
        from: String,
        to: String,
    },
    GrantMade {
        grant: GrantId,
        account: AccountId,
        model: ModelId,
        scopes: Vec<&'static str>,
        days: i64,
        reason: String,
    },
    GrantRevoked {
        grant: GrantId,
        reason: String,
    },
    GrantReplaced {
        grant: GrantId,
    },
    /// It went with its approval, which was taken back before anybody had heard of it.
    GrantUndone {
        grant: GrantId,
    },
    PolicyChanged {
        model: ModelId,
        revoke_needs_two: bool,
        trial_tokens: i32,
        answer_days: i32,
        reapply_days: i32,
    },
    GrantSuspended {
        grant: GrantId,
        reason: String,
    },
    GrantReinstated {
        grant: GrantId,
    },
    RevocationProposed {
        grant: GrantId,
        reason: String,
    },
    RevocationRejected {
        grant: GrantId,
    },
    GrantClosed {
        grant: GrantId,
        attestation: &'static str,
    },
    BlockSet {
        account: AccountId,
        block: BlockId,
        model: Option<ModelId>,
        until: String,
        reason: String,
    },
    BlockLifted {
        account: AccountId,
        block: BlockId,
    },
    RenewalRequested {
        grant: GrantId,
        renewal: RenewalId,
        months: u8,
    },
    RenewalWithdrawn {
        grant: GrantId,
        renewal: RenewalId,
    },
    GrantRenewed {
        grant: GrantId,
        renewal: RenewalId,
        until: String,
    },
    RenewalDeclined {
        grant: GrantId,
        renewal: RenewalId,
    },
    LicenceChangeAnnounced {
        model: ModelId,
        licence_sha256: String,
        grace_until: String,
    },
    ClausesChangeAnnounced {
        model: ModelId,
        form_sha256: String,
        grace_until: String,
    },
    ConsentGiven {
        grant: GrantId,
        licence_sha256: Option<String>,
        form_sha256: Option<String>,
    },
    RenewalLapsed {
        grant: GrantId,
        renewal: RenewalId,
    },
    AccountErased {
        account: AccountId,
        asked_by: &'static str,
    },
    DetailsErased {
        account: AccountId,
        events: Vec<i64>,
    },
}

/// The kind of the events that say which details were erased. Their own detail is never erased.
pub(super) const DETAILS_ERASED: &str = "record.details_erased";

impl Event {
    /// The stable name it is stored and searched by.
    pub fn kind(&self) -> &'static str {
        match self {
            Event::AccountMade { .. } => "account.made",
            Event::EmailVerified { .. } => "account.email_verified",
            Event::SignedIn { .. } => "account.signed_in",
            Event::SignInLinkMade { .. } => "account.sign_in_link_made",
            Event::SignInFailed { .. } => "account.sign_in_failed",
            Event::SignUpRepeated { .. } => "account.sign_up_repeated",
            Event::PasswordChanged { .. } => "account.password_changed",
            Event::AccountRenamed { .. } => "account.renamed",
            Event::RoleChanged { .. } => "account.role_changed",
            Event::AccountClosed { .. } => "account.closed",
            Event::AccountReopened { .. } => "account.reopened",
            Event::SessionEnded { .. } => "account.session_ended",
            Event::TokenMade { .. } => "token.made",
            Event::TokenRevoked { .. } => "token.revoked",
            Event::TokenLeaked { .. } => "token.leaked",
            Event::DeviceApproved { .. } => "account.device_approved",
            Event::DeviceDenied { .. } => "account.device_denied",
            Event::ModelOffered { .. } => "model.offered",
            Event::GateChanged { .. } => "model.gate_changed",
            Event::ReleaseDrafted { .. } => "release.drafted",
            Event::DraftDiscarded { .. } => "release.discarded",
            Event::ReleasePublished { .. } => "release.published",
            Event::ReleaseNamed { .. } => "release.named",
            Event::SigningKeyRotated { .. } => "signing_key.rotated",
            Event::ReleaseYanked { .. } => "release.yanked",
            Event::ReleaseRestored { .. } => "release.restored",
            Event::ObjectsRemoved { .. } => "store.objects_removed",
            Event::ApplicationSubmitted { .. } => "application.submitted",
            Event::ApplicationResubmitted { .. } => "application.resubmitted",
            Event::ApplicationWithdrawn { .. } => "application.withdrawn",
            Event::ApplicationLapsed { .. } => "application.lapsed",
            Event::ApplicationClaimed { .. } => "application.claimed",
            Event::ApplicationReleased { .. } => "application.released",
            Event::ApplicationChecked { .. } => "application.checked",
            Event::ChangesRequested { .. } => "application.changes_requested",
            Event::CommentWritten { .. } => "application.comment_written",
            Event::NoteWritten { .. } => "application.note_written",
            Event::ApplicationAppealed { .. } => "application.appealed",
            Event::DecisionUndone { .. } => "application.decision_undone",
            Event::ApplicationApproved { .. } => "application.approved",
            Event::ApplicationDeclined { .. } => "application.declined",
            Event::FormPublished { .. } => "form.published",
            Event::GrantMade { .. } => "grant.made",
            Event::GrantRevoked { .. } => "grant.revoked",
            Event::GrantReplaced { .. } => "grant.replaced",
            Event::GrantUndone { .. } => "grant.undone",
            Event::PolicyChanged { .. } => "model.policy_changed",
            Event::GrantSuspended { .. } => "grant.suspended",
            Event::GrantReinstated { .. } => "grant.reinstated",
            Event::RevocationProposed { .. } => "grant.revocation_proposed",
            Event::RevocationRejected { .. } => "grant.revocation_rejected",
            Event::GrantClosed { .. } => "grant.closed",
            Event::BlockSet { .. } => "account.blocked",
            Event::RenewalRequested { .. } => "grant.renewal_requested",
            Event::RenewalWithdrawn { .. } => "grant.renewal_withdrawn",
            Event::GrantRenewed { .. } => "grant.renewal_approved",
            Event::RenewalDeclined { .. } => "grant.renewal_declined",
            Event::RenewalLapsed { .. } => "grant.renewal_lapsed",
            Event::LicenceChangeAnnounced { .. } => "model.licence_change_announced",
            Event::ClausesChangeAnnounced { .. } => "model.clauses_change_announced",
            Event::ConsentGiven { .. } => "grant.consent_given",
            Event::BlockLifted { .. } => "account.block_lifted",
            Event::AccountErased { .. } => "account.erased",
            Event::DetailsErased { .. } => DETAILS_ERASED,
        }
    }

    /// What it is about, as a printed id.
    pub fn subject(&self) -> String {
        match self {
            Event::AccountMade { account, .. }
            | Event::EmailVerified { account }
            | Event::SignedIn { account }
            | Event::SignUpRepeated { account }
            | Event::SignInLinkMade { account }
            | Event::SignInFailed { account: Some(account) }
            | Event::PasswordChanged { account }
            | Event::AccountRenamed { account }
            | Event::RoleChanged { account, .. }
            | Event::AccountClosed { account }
            | Event::AccountReopened { account }
            | Event::SessionEnded { account }
            | Event::DeviceApproved { account, .. }
            | Event::DeviceDenied { account, .. } => account.to_string(),
            Event::TokenMade { token, .. } | Event::TokenRevoked { token, .. } | Event::TokenLeaked { token, .. } => token.to_string(),
            Event::ModelOffered { model, .. }
            | Event::GateChanged { model, .. }
            | Event::FormPublished { model, .. }
            | Event::ReleaseDrafted { model, .. }
            | Event::DraftDiscarded { model, .. }
            | Event::ReleasePublished { model, .. }
            | Event::ReleaseNamed { model, .. }
            | Event::ReleaseYanked { model, .. }
            | Event::ReleaseRestored { model, .. }
            | Event::PolicyChanged { model, .. }
            | Event::ClausesChangeAnnounced { model, .. }
            | Event::LicenceChangeAnnounced { model, .. } => model.to_string(),
            Event::SigningKeyRotated { to, .. } => to.clone(),
            Event::SignInFailed { account: None } => "unknown".into(),
            Event::ObjectsRemoved { .. } => "store".into(),
            Event::ApplicationSubmitted { application, .. }
            | Event::ApplicationResubmitted { application, .. }
            | Event::ApplicationWithdrawn { application }
            | Event::ApplicationLapsed { application }
            | Event::ApplicationClaimed { application }
            | Event::ApplicationReleased { application }
            | Event::ApplicationChecked { application, .. }
            | Event::ChangesRequested { application, .. }
            | Event::CommentWritten { application }
            | Event::NoteWritten { application }
            | Event::ApplicationAppealed { application }
            | Event::DecisionUndone { application }
            | Event::ApplicationApproved { application, .. }
            | Event::ApplicationDeclined { application, .. } => application.to_string(),
            Event::GrantMade { grant, .. }
            | Event::GrantRevoked { grant, .. }
            | Event::GrantReplaced { grant }
            | Event::GrantUndone { grant }
            | Event::GrantSuspended { grant, .. }
            | Event::GrantReinstated { grant }
            | Event::RevocationProposed { grant, .. }
            | Event::RevocationRejected { grant }
            | Event::GrantClosed { grant, .. }
            | Event::RenewalRequested { grant, .. }
            | Event::RenewalWithdrawn { grant, .. }
            | Event::GrantRenewed { grant, .. }
            | Event::RenewalDeclined { grant, .. }
            | Event::RenewalLapsed { grant, .. }
            | Event::ConsentGiven { grant, .. } => grant.to_string(),
            Event::BlockSet { account, .. } | Event::BlockLifted { account, .. } => account.to_string(),
            Event::AccountErased { account, .. } | Event::DetailsErased { account, .. } => account.to_string(),
        }
    }

    /// The rest of what happened.
    pub fn detail(&self) -> Value {
        match self {
            Event::AccountMade { role, .. } | Event::RoleChanged { role, .. } => json!({ "role": role }),
            Event::EmailVerified { .. }
            | Event::SignedIn { .. }
            | Event::SignInFailed { .. }
            | Event::SignUpRepeated { .. }
            | Event::SignInLinkMade { .. }
            | Event::PasswordChanged { .. }
            | Event::AccountRenamed { .. }
            | Event::AccountClosed { .. }
            | Event::AccountReopened { .. }
            | Event::SessionEnded { .. } => json!({}),
            Event::TokenMade { account, scopes, .. } => json!({ "account": account, "scopes": scopes }),
            Event::TokenRevoked { account, .. } | Event::TokenLeaked { account, .. } => json!({ "account": account }),
            Event::DeviceApproved { program, .. } | Event::DeviceDenied { program, .. } => json!({ "program": program }),
            Event::ModelOffered { name, gate, .. } => json!({ "name": name, "gate": gate }),
            Event::GateChanged { gate, .. } => json!({ "gate": gate }),
            Event::ObjectsRemoved { objects, bytes } => json!({ "objects": objects, "bytes": bytes }),
            Event::ReleaseYanked { revision, reason, .. } => json!({ "revision": revision, "reason": reason }),
            Event::ReleaseDrafted { revision, .. }
            | Event::DraftDiscarded { revision, .. }
            | Event::ReleasePublished { revision, .. }
            | Event::ReleaseRestored { revision, .. } => json!({ "revision": revision }),
            Event::ReleaseNamed { name, from, to, .. } => json!({ "name": name, "from": from, "to": to }),
            Event::SigningKeyRotated { from, retires, .. } => json!({ "from": from, "from_retires": retires }),
            Event::ApplicationSubmitted { model, licence_sha256, form_sha256, answers_sha256, .. } => {
                json!({ "model": model, "licence_sha256": licence_sha256, "form_sha256": form_sha256, "answers_sha256": answers_sha256 })
            }
            Event::ApplicationResubmitted { answers_sha256, .. } => json!({ "answers_sha256": answers_sha256 }),
            Event::ApplicationWithdrawn { .. }
            | Event::ApplicationLapsed { .. }
            | Event::ApplicationClaimed { .. }
            | Event::ApplicationReleased { .. }
            | Event::CommentWritten { .. }
            | Event::NoteWritten { .. }
            | Event::ApplicationAppealed { .. }
            | Event::DecisionUndone { .. } => json!({}),
            Event::ApplicationChecked { points, .. } => json!({ "points": points }),
            Event::ChangesRequested { fields, .. } => json!({ "fields": fields }),
            Event::ApplicationApproved { grant, .. } => json!({ "grant": grant }),
            Event::ApplicationDeclined { code, .. } => json!({ "code": code }),
            Event::FormPublished { from, to, .. } => json!({ "from": from, "to": to }),
            Event::GrantMade { account, model, scopes, days, reason, .. } => {
                json!({ "account": account, "model": model, "scopes": scopes, "days": days, "reason": reason })
            }
            Event::GrantRevoked { reason, .. } | Event::GrantSuspended { reason, .. } | Event::RevocationProposed { reason, .. } => {
                json!({ "reason": reason })
            }
            Event::GrantReplaced { .. } | Event::GrantUndone { .. } | Event::GrantReinstated { .. } | Event::RevocationRejected { .. } => {
                json!({})
            }
            Event::RenewalRequested { renewal, months, .. } => json!({ "renewal": renewal, "months": months }),
            Event::RenewalWithdrawn { renewal, .. } | Event::RenewalDeclined { renewal, .. } | Event::RenewalLapsed { renewal, .. } => {
                json!({ "renewal": renewal })
            }
            Event::LicenceChangeAnnounced { licence_sha256, grace_until, .. } => {
                json!({ "licence_sha256": licence_sha256, "grace_until": grace_until })
            }
            Event::ClausesChangeAnnounced { form_sha256, grace_until, .. } => {
                json!({ "form_sha256": form_sha256, "grace_until": grace_until })
            }
            Event::ConsentGiven { licence_sha256, form_sha256: None, .. } => json!({ "licence_sha256": licence_sha256 }),
            Event::ConsentGiven { form_sha256, .. } => json!({ "form_sha256": form_sha256 }),
            Event::GrantRenewed { renewal, until, .. } => json!({ "renewal": renewal, "until": until }),
            Event::GrantClosed { attestation, .. } => json!({ "attestation": attestation }),
            Event::BlockSet { block, model, until, reason, .. } => {
                json!({ "block": block, "model": model, "until": until, "reason": reason })
            }
            Event::BlockLifted { block, .. } => json!({ "block": block }),
            Event::PolicyChanged { revoke_needs_two, trial_tokens, answer_days, reapply_days, .. } => json!({
                "revoke_needs_two": revoke_needs_two, "trial_tokens": trial_tokens, "answer_days": answer_days, "reapply_days": reapply_days,
            }),
            Event::AccountErased { asked_by, .. } => json!({ "asked_by": asked_by }),
            Event::DetailsErased { events, .. } => json!({ "events": events }),
        }
    }
}

/// Who did what no account did, in words; `kind`: what it was.
pub fn without_account(kind: &str) -> &'static str {
    match kind {
        "account.sign_in_failed" | "account.sign_up_repeated" | "token.leaked" => "somebody unknown",
        "application.lapsed" | "grant.renewal_lapsed" | "grant.replaced" | "account.blocked" => "the portal",
        _ => "the operator",
    }
}
