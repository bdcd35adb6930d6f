-- Mails to be sent, written in the transaction of the change they tell of and emptied by a worker.
-- Room: mail. `body` is cleared once a mail was handed to an SMTP server, because it may carry a one-time link.

create table mail (
    id uuid constraint mail_pk primary key,
    kind text not null,
    recipient text not null,
    subject text not null,
    body text,
    created_at timestamptz not null,
    next_attempt_at timestamptz not null,
    attempts integer not null default 0,
    sent_at timestamptz,
    gave_up_at timestamptz,
    last_error text,
    constraint mail_subject_ck check (subject !~ '[\r\n]'),
    constraint mail_recipient_ck check (recipient !~ '[\r\n]'),
    constraint mail_end_ck check (sent_at is null or gave_up_at is null)
);
create index mail_due_ix on mail (next_attempt_at) where sent_at is null and gave_up_at is null;
create index mail_created_ix on mail (created_at desc, id desc);
