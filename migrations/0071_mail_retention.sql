-- The texts of mails that have ended are removed after a while: found by when they ended, as long as one is there.
-- Room: mail.

create index mail_text_ix on mail ((coalesce(bounced_at, sent_at, gave_up_at)))
    where body is not null or last_error is not null or bounce <> '';
