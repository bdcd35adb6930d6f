-- Browsers that an account has signed in with, so that its owner is told of a new one. Each has a random cookie of its own; what is kept is a
-- hash of that and of the account, so that nobody can tell from here which accounts share a browser. No address, and nothing of where it is.
-- Room: accounts.

create table known_browser (
    account_id uuid not null constraint known_browser_account_fk references account,
    secret_hash bytea not null,
    first_at timestamptz not null,
    last_at timestamptz not null,
    constraint known_browser_pk primary key (account_id, secret_hash),
    constraint known_browser_hash_ck check (octet_length(secret_hash) = 32)
);
create index known_browser_last_ix on known_browser (last_at);
