-- A decision may be taken back for some minutes, so its mail waits, and goes with it when it is taken back.
-- Room: mail. `held_for` names what the mail is about, as a printed id.

alter table mail add column held_for text;
create index mail_held_ix on mail (held_for) where sent_at is null;
