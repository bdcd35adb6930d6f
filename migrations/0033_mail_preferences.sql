-- Which mails somebody need not get, and the digests that reviewers may have instead.
-- Room: mail. Both are kept by address, as mails are: the outbox knows no accounts. Without a row, the pace is `each`.

create table mail_preference (
    recipient text not null,
    topic text not null,
    pace text not null,
    changed_at timestamptz not null,
    constraint mail_preference_pk primary key (recipient, topic),
    constraint mail_preference_pace_ck check (pace in ('each', 'daily', 'never'))
);
create index mail_preference_daily_ix on mail_preference (topic, recipient) where pace = 'daily';

-- One row for a reader and a day, written with the digest: so that there is one, whoever else is at it. Days on which nothing waited have
-- a row too, or the digest would come whenever something arrives.
create table mail_digest (
    recipient text not null,
    day date not null,
    constraint mail_digest_pk primary key (recipient, day)
);
