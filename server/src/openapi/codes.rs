//! The stable words by which programs know why they were refused.

/// One of them.
pub(super) struct Code {
    pub(super) status: u16,
    pub(super) word: &'static str,
    /// What it means, and what to do.
    pub(super) means: &'static str,
}

const fn code(status: u16, word: &'static str, means: &'static str) -> Code {
    Code { status, word, means }
}

/// Every word that an operation may be refused with.
pub(super) const GENERAL: &[Code] = &[
    code(401, "signed_out", "No token, or one that does not work: expired, revoked, or its account is closed."),
    code(403, "token_scope", "The token works, and is not for this: make one with the scope that is named."),
    code(403, "token_made_by_token", "A token that was made with another one makes none itself."),
    code(403, "not_a_reviewer", "Only reviewers read applications and decide on them."),
    code(403, "not_an_admin", "Only admins run the portal."),
    code(404, "not_found", "There is no such thing, or it is not yours to see; a portal does not tell which."),
    code(409, "conflict", "The state of the thing does not allow it: the sentence says which state that is. Nothing was changed."),
    code(409, "stale", "It changed since you looked: read it again, and decide again. Nothing was changed."),
    code(422, "invalid", "What you sent makes no sense; errors has every fault by its field."),
    code(429, "rate_limited", "Too often: the header Retry-After says when to come back."),
    code(503, "busy", "What is needed is taken up by others; Retry-After says when to come back."),
    code(503, "unavailable", "A part of the portal does not answer; try again in a moment."),
    code(500, "internal", "Our fault. It is in the log, and nothing was half done."),
];

/// The words for what is missing where somebody wants a model, or to decide about one.
pub(super) const OF_ACCESS: &[Code] = &[
    code(403, "no_application", "The model is given by application, and there is none."),
    code(403, "application_draft", "The application was begun and not sent."),
    code(403, "application_pending", "The application waits for a reviewer."),
    code(403, "changes_requested", "A reviewer asks for changes to the application."),
    code(403, "application_declined", "The application was declined."),
    code(403, "grant_expired", "Access was given, and has ended."),
    code(403, "grant_closed", "Its holder gave the access back."),
    code(403, "grant_revoked", "The access was revoked, with a reason."),
    code(403, "grant_suspended", "The access is suspended until a reviewer reinstates it."),
    code(403, "grant_scope", "The access is not for this use: download, playground or api."),
    code(403, "consent_needed", "The licence changed, and its holder has not agreed yet."),
    code(403, "blocked", "The person is kept out for a time, with a reason."),
    code(403, "trial_used", "The tokens for trying while an application waits are used up."),
    code(403, "trial_busy", "One trial at a time: wait until the one that runs has ended."),
    code(403, "release_yanked", "This release can no longer be downloaded; another one may be."),
    code(403, "own_application", "Nobody decides on their own application."),
    code(403, "own_decision", "An appeal is decided by another reviewer than the one it is against."),
    code(403, "own_proposal", "Another reviewer confirms or rejects what one has proposed."),
    code(403, "own_block", "Nobody blocks themselves, or lifts their own block."),
    code(403, "not_your_decision", "Only who has decided takes that back."),
];
