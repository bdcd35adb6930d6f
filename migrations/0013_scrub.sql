-- When each object was last read back and compared with its digest, and what was wrong with it then; and the rounds in which that is done,
-- so that an interrupted one goes on where it stood.
-- Room: catalog.

alter table object
    add column checked_at timestamptz,
    add column fault text;
create index object_checked_ix on object (checked_at nulls first, sha256);

create table scrub_round (
    id uuid constraint scrub_round_pk primary key,
    started_at timestamptz not null,
    last_at timestamptz not null,
    finished_at timestamptz,
    objects bigint not null default 0,
    bytes bigint not null default 0,
    faults bigint not null default 0
);
-- Invariant: one round at a time.
create unique index scrub_round_one_open_uq on scrub_round ((finished_at is null)) where finished_at is null;
create index scrub_round_started_ix on scrub_round (started_at desc);
