-- Programs that wait to be signed in from a browser (RFC 8628): one row from the request of the codes until some time after they end.
-- Room: accounts. Both codes are stored as their SHA-256. Where the program asks from is shown to whoever decides, and goes with the row.

create table device_sign_in (
    id uuid constraint device_sign_in_pk primary key,
    device_hash bytea not null,
    user_code_hash bytea not null,
    program text not null,
    user_agent text not null,
    address text not null,
    scopes text[] not null,
    state text not null default 'waiting',
    account_id uuid constraint device_sign_in_account_fk references account,
    created_at timestamptz not null,
    expires_at timestamptz not null,
    polled_at timestamptz,
    interval_s integer not null,
    constraint device_sign_in_device_hash_ck check (length(device_hash) = 32),
    constraint device_sign_in_user_code_hash_ck check (length(user_code_hash) = 32),
    constraint device_sign_in_program_ck check (program in ('hf', 'sluice')),
    constraint device_sign_in_scopes_ck check (cardinality(scopes) > 0 and scopes <@ array['download', 'api']),
    constraint device_sign_in_state_ck check (state in ('waiting', 'approved', 'denied', 'used')),
    constraint device_sign_in_decided_ck check ((state = 'waiting') = (account_id is null))
);
create unique index device_sign_in_device_hash_uq on device_sign_in (device_hash);
-- A code that two programs wait with would sign in the wrong one.
create unique index device_sign_in_user_code_hash_uq on device_sign_in (user_code_hash);
create index device_sign_in_account_ix on device_sign_in (account_id);
create index device_sign_in_expires_ix on device_sign_in (expires_at);
