-- Who fetched what: one row for an account (or nobody, for open models), a file and a revision within one day,
-- because one download by a parallel client is thousands of ranged requests.
-- The names are kept beside the ids: what was fetched is told as it was called then.
-- Room: downloads.

create table download (
    id uuid constraint download_pk primary key,
    account_id uuid constraint download_account_fk references account,
    model_id uuid not null constraint download_model_fk references model,
    model_name text not null,
    release_id uuid not null constraint download_release_fk references release,
    revision text not null,
    path text not null,
    day date not null,
    size_bytes bigint not null,
    sent_bytes bigint not null default 0,
    requests integer not null default 0,
    started_at timestamptz not null,
    last_at timestamptz not null,
    completed_at timestamptz,
    client text not null default ''
);
create unique index download_one_a_day_uq on download (account_id, release_id, path, day) nulls not distinct;
create index download_account_ix on download (account_id, last_at desc, id desc);
create index download_recent_ix on download (last_at desc, id desc);
create index download_model_ix on download (model_id, path, day);
