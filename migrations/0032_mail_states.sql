-- What became of a mail in one word, so that the outbox is filtered and counted by an index; and bounces, which come later and from elsewhere.
-- Room: mail. `bounce` is what the far mail server said.

alter table mail add column bounced_at timestamptz;
alter table mail add column bounce text;
alter table mail add constraint mail_bounce_ck check ((bounced_at is null) = (bounce is null));
alter table mail add column state text not null generated always as (
    case when bounced_at is not null then 'bounced'
         when sent_at is not null then 'sent'
         when gave_up_at is not null then 'given_up'
         else 'waiting' end
) stored;
create index mail_state_ix on mail (state, id);
-- Addresses are searched by how they begin, whatever the order of letters of the database's language is.
create index mail_recipient_ix on mail (recipient collate "C", id);
