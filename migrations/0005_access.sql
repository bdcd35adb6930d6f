-- Who may have what: applications, the attestations made with them, and the grants they lead to.
-- Room: access. Application and grant are apart: a decision is about a project, access is about a person and now.

create table application (
    id uuid constraint application_pk primary key,
    account_id uuid not null constraint application_account_fk references account,
    model_id uuid not null constraint application_model_fk references model,
    answers jsonb not null,
    licence_sha256 text constraint application_licence_fk references licence,
    state text not null,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    submitted_at timestamptz,
    closed_at timestamptz,
    decided_by uuid constraint application_decided_by_fk references account,
    decline_code text,
    decision_text text,
    constraint application_state_ck check (state in ('draft', 'submitted', 'approved', 'declined', 'withdrawn')),
    constraint application_submitted_ck check ((state = 'draft') = (submitted_at is null) or state = 'withdrawn'),
    constraint application_closed_ck check ((state in ('approved', 'declined', 'withdrawn')) = (closed_at is not null)),
    constraint application_decided_ck check ((state in ('approved', 'declined')) = (decided_by is not null)),
    constraint application_declined_ck check ((state = 'declined') = (decline_code is not null)),
    constraint application_not_self_ck check (decided_by is null or decided_by <> account_id)
);
-- Invariant: at most one open application per account and model.
create unique index application_one_open_uq on application (account_id, model_id) where state in ('draft', 'submitted');
create index application_queue_ix on application (submitted_at, id) where state = 'submitted';
create index application_account_ix on application (account_id, created_at desc);
create index application_model_ix on application (model_id);
create index application_decided_ix on application (closed_at desc, id) where state in ('approved', 'declined');

-- One record for each clause agreed to: the words that were ticked, and the hash of the licence text that was shown with them
-- (none for terms of this site, and for models without a licence text).
create table attestation (
    application_id uuid not null constraint attestation_application_fk references application,
    clause text not null,
    wording text not null,
    licence_sha256 text constraint attestation_licence_fk references licence,
    attested_at timestamptz not null,
    constraint attestation_pk primary key (application_id, clause)
);

create table access_grant (
    id uuid constraint access_grant_pk primary key,
    account_id uuid not null constraint access_grant_account_fk references account,
    model_id uuid not null constraint access_grant_model_fk references model,
    application_id uuid constraint access_grant_application_fk references application,
    granted_by uuid constraint access_grant_granted_by_fk references account,
    reason text not null,
    granted_at timestamptz not null,
    expires_at timestamptz not null,
    revoked_at timestamptz,
    revoked_by uuid constraint access_grant_revoked_by_fk references account,
    revoke_reason text,
    constraint access_grant_expiry_ck check (expires_at > granted_at),
    constraint access_grant_revoked_ck check ((revoked_at is null) = (revoke_reason is null))
);
-- A grant that had expired when another followed it is closed by setting `revoked_at`, which is then not before `expires_at`.
create unique index access_grant_one_live_uq on access_grant (account_id, model_id) where revoked_at is null;
create index access_grant_account_ix on access_grant (account_id, granted_at desc);
create index access_grant_application_ix on access_grant (application_id);
create index access_grant_model_ix on access_grant (model_id, granted_at desc);
create index access_grant_expiry_ix on access_grant (expires_at) where revoked_at is null;
