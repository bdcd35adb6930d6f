-- Who somebody is: accounts, the sessions and tokens they act through, and the one-time links they prove an address with.
-- Room: accounts. Every secret is stored as the SHA-256 of itself, never in a form that could be used.

create table account (
    id uuid constraint account_pk primary key,
    email text not null,
    name text not null,
    role text not null default 'researcher',
    password_hash text,
    email_verified_at timestamptz,
    created_at timestamptz not null,
    disabled_at timestamptz,
    constraint account_email_ck check (email = lower(email) and length(email) between 3 and 254),
    constraint account_name_ck check (length(name) between 1 and 120),
    constraint account_role_ck check (role in ('researcher', 'reviewer', 'admin'))
);
create unique index account_email_uq on account (email);

create table session (
    id uuid constraint session_pk primary key,
    account_id uuid not null constraint session_account_fk references account,
    secret_hash bytea not null,
    user_agent text not null,
    created_at timestamptz not null,
    last_seen_at timestamptz not null,
    expires_at timestamptz not null,
    constraint session_secret_hash_ck check (length(secret_hash) = 32)
);
create unique index session_secret_hash_uq on session (secret_hash);
create index session_account_ix on session (account_id);

create table token (
    id uuid constraint token_pk primary key,
    account_id uuid not null constraint token_account_fk references account,
    name text not null,
    secret_hash bytea not null,
    hint text not null,
    scopes text[] not null,
    created_at timestamptz not null,
    expires_at timestamptz not null,
    last_used_at timestamptz,
    revoked_at timestamptz,
    constraint token_name_ck check (length(name) between 1 and 80),
    constraint token_secret_hash_ck check (length(secret_hash) = 32),
    constraint token_scopes_ck check (cardinality(scopes) > 0 and scopes <@ array['download', 'api'])
);
create unique index token_secret_hash_uq on token (secret_hash);
create index token_account_ix on token (account_id, created_at);

create table one_time_link (
    id uuid constraint one_time_link_pk primary key,
    account_id uuid not null constraint one_time_link_account_fk references account,
    purpose text not null,
    secret_hash bytea not null,
    created_at timestamptz not null,
    expires_at timestamptz not null,
    used_at timestamptz,
    constraint one_time_link_purpose_ck check (purpose in ('verify', 'reset', 'sign_in')),
    constraint one_time_link_secret_hash_ck check (length(secret_hash) = 32)
);
create unique index one_time_link_secret_hash_uq on one_time_link (secret_hash);
create index one_time_link_account_ix on one_time_link (account_id);
