-- Who was told that a release they had fetched was yanked: one mail each, however often the ledger is looked through.
-- A restored release takes its rows away, so that yanking it again tells again.
-- Room: downloads.

create table yank_notice (
    release_id uuid not null constraint yank_notice_release_fk references release,
    account_id uuid not null constraint yank_notice_account_fk references account,
    told_at timestamptz not null,
    constraint yank_notice_pk primary key (release_id, account_id)
);

-- Who fetched a release: for the mails, and for the admin's page of it.
create index download_release_ix on download (release_id, account_id);
